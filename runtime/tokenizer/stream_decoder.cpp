// SPDX-License-Identifier: Apache-2.0
#include "runtime/tokenizer/tokenizer.h"
#include "runtime/tokenizer/tokenizer_impl.h"
#include "runtime/tokenizer/utf8.h"

namespace unmask::runtime {

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, Tokenizer::SpecialTokens special) : tokenizer_(&tokenizer), special_(special) {}

std::string StreamDecoder::push(TokenId token) {
  pending_ += tokenizer_->impl_->bytes_of(token, special_);
  const std::size_t kept = tokenizer::incomplete_tail_bytes(pending_);
  std::string text;
  tokenizer::append_lossy(text, std::string_view(pending_).substr(0, pending_.size() - kept));
  pending_.erase(0, pending_.size() - kept);
  return text;
}

std::string StreamDecoder::finish() {
  std::string text;
  tokenizer::append_lossy(text, pending_);
  pending_.clear();
  return text;
}

}  // namespace unmask::runtime
