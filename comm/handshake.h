// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>

#include "base/error.h"
#include "comm/communicator.h"

namespace unmask::comm {

/// Something every rank must agree on: {"program version", "0.1.0 (abc)"}, {"checkpoint", "..."}.
struct Fact {
  std::string name;
  std::string value;
};

/// Collective. Throws the same Error(kBadInput) on every rank if a fact differs anywhere, naming the odd rank and its host
/// (the minority), the fact, and both values.
void require_same(Communicator& comm, std::span<const Fact> mine);

/// Collective. Throws on every rank the error of the lowest rank that has one ("rank R host H: ..." before the message where
/// there are several ranks); returns where nobody has. So a rank's failure to load never leaves the others waiting.
void agree(Communicator& comm, const std::optional<Error>& mine);

/// Collective. Runs `part` on this rank, and throws as agree() does if it failed with an Error, or for want of memory, on any.
void run_together(Communicator& comm, const std::function<void()>& part);

}  // namespace unmask::comm
