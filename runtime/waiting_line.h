// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstdint>
#include <iterator>
#include <map>
#include <unordered_map>
#include <utility>

#include "runtime/request.h"

namespace unmask::runtime {

/// Requests that wait to be admitted, in the order in which they will be: by step of arrival, a point of priority standing for
/// kStepsPerPriority steps of earlier arrival. Since that order of two requests never changes and priorities are bounded, only
/// so many later ones can ever go first: nobody starves.
class WaitingLine {
 public:
  static constexpr std::int64_t kStepsPerPriority = 16;

  void push(RequestHandle handle, Request request, std::int64_t step) {
    const Place place{step - request.priority * kStepsPerPriority, handle};
    places_.emplace(handle, place);
    requests_.emplace(place, std::move(request));
  }
  bool remove(RequestHandle handle) {
    const auto found = places_.find(handle);
    if (found == places_.end()) {
      return false;
    }
    requests_.erase(found->second);
    places_.erase(found);
    return true;
  }

  bool empty() const { return requests_.empty(); }
  std::int64_t size() const { return std::ssize(requests_); }
  const Request& front() const { return requests_.begin()->second; }
  std::pair<RequestHandle, Request> pop_front() {
    auto first = requests_.extract(requests_.begin());
    places_.erase(first.key().handle);
    return {first.key().handle, std::move(first.mapped())};
  }

 private:
  struct Place {
    std::int64_t step;
    RequestHandle handle;  ///< ascends in the order of submission
    auto operator<=>(const Place&) const = default;
  };
  std::map<Place, Request> requests_;
  std::unordered_map<RequestHandle, Place> places_;
};

}  // namespace unmask::runtime
