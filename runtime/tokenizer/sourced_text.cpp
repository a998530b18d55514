// SPDX-License-Identifier: Apache-2.0
#include "runtime/tokenizer/tokenizer.h"

namespace unmask::runtime {

SourcedText SourcedText::all_user(std::string text) {
  SourcedText out{std::move(text), {}};
  if (!out.text.empty()) {
    out.user.push_back({0, out.text.size()});
  }
  return out;
}

SourcedText SourcedText::trusted(std::string text) { return {std::move(text), {}}; }

}  // namespace unmask::runtime
