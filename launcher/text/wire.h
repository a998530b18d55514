// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "launcher/options/option_values.h"
#include "runtime/request.h"

namespace unmask::launcher {

/// A request as it travels from rank 0 to the others: in tokens, its sampling options as texts.
struct TokenRequest {
  std::int64_t number = 0;
  std::string id;
  std::vector<TokenId> prompt;
  OptionValues::Given sampling;  ///< those of the command line among them

  runtime::Request to_request() const;
};

std::vector<std::byte> pack(std::span<const TokenRequest> requests);
std::vector<TokenRequest> unpack_requests(std::span<const std::byte> bytes);

std::vector<std::byte> pack(const OptionValues::Given& values);
OptionValues::Given unpack_values(std::span<const std::byte> bytes);

/// What a step unmasked, on its way to the live view.
struct Draft {
  std::int64_t number = 0;
  std::int64_t passes = 0;
  std::vector<runtime::Unmasked> unmasked;
};

std::vector<std::byte> pack(const Draft& draft);
std::vector<std::byte> pack(const runtime::Answer& answer);
std::variant<Draft, runtime::Answer> unpack_posted(std::span<const std::byte> bytes);

}  // namespace unmask::launcher
