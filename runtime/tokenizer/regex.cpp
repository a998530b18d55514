// SPDX-License-Identifier: Apache-2.0
#include "runtime/tokenizer/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <array>
#include <ctime>

#include "base/types.h"
#include "base/unique_handle.h"
#include "runtime/tokenizer/utf8.h"

namespace unmask::runtime::tokenizer {

namespace {

constexpr std::size_t kMaxPatternBytes = 16384;
constexpr std::uint32_t kHeapLimitKib = 256 * 1024;
constexpr std::size_t kJitStackBytes = 8 * 1024 * 1024;
/// How many starting places one call may try: between calls we look at the clock.
constexpr std::size_t kWindowBytes = 256;

/// Processor seconds of this thread.
double thread_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

struct CodeTraits {
  using Value = pcre2_code*;
  static Value empty() { return nullptr; }
  static void close(Value code) noexcept { pcre2_code_free(code); }
};
struct CompileContextTraits {
  using Value = pcre2_compile_context*;
  static Value empty() { return nullptr; }
  static void close(Value context) noexcept { pcre2_compile_context_free(context); }
};
struct MatchContextTraits {
  using Value = pcre2_match_context*;
  static Value empty() { return nullptr; }
  static void close(Value context) noexcept { pcre2_match_context_free(context); }
};
struct MatchDataTraits {
  using Value = pcre2_match_data*;
  static Value empty() { return nullptr; }
  static void close(Value data) noexcept { pcre2_match_data_free(data); }
};
struct JitStackTraits {
  using Value = pcre2_jit_stack*;
  static Value empty() { return nullptr; }
  static void close(Value stack) noexcept { pcre2_jit_stack_free(stack); }
};

std::string message_of(int code) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

}  // namespace

struct Regex::Impl {
  UniqueHandle<CodeTraits> code;
  std::string where;
};

struct Regex::Scratch::Impl {
  UniqueHandle<MatchContextTraits> context{pcre2_match_context_create(nullptr)};
  UniqueHandle<MatchDataTraits> data{pcre2_match_data_create(1, nullptr)};
  UniqueHandle<JitStackTraits> stack{};  ///< for texts that need more than the 32 KB of the machine's stack that PCRE2 begins with

  void grow_stack() {
    stack = UniqueHandle<JitStackTraits>(pcre2_jit_stack_create(32 * 1024, kJitStackBytes, nullptr));
    if (!stack) {
      throw std::bad_alloc();
    }
    pcre2_jit_stack_assign(context.get(), nullptr, stack.get());
  }
  int match(const pcre2_code* code, std::string_view text, std::size_t start, std::uint32_t options) {
    const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
    // The text was checked once; checking it again for each match would be quadratic.
    return pcre2_match(code, subject, text.size(), start, PCRE2_NO_UTF_CHECK | options, data.get(), context.get());
  }
};

Regex::Scratch::Scratch() : impl_(std::make_unique<Impl>()) {
  if (!impl_->context || !impl_->data) {
    throw std::bad_alloc();
  }
  pcre2_set_heap_limit(impl_->context.get(), kHeapLimitKib);
}
Regex::Scratch::~Scratch() = default;

Regex::Regex(Syntax syntax, std::string_view pattern, const std::string& where) : impl_(std::make_unique<Impl>()) {
  require(pattern.size() <= kMaxPatternBytes, ExitCode::kBadInput, "{}: the pattern has {} bytes, at most {} are supported", where,
          pattern.size(), kMaxPatternBytes);
  impl_->where = where;
  const std::string translated = syntax == Syntax::kPattern ? pcre2_pattern(pattern, where) : std::string(pattern);
  const std::uint32_t options =
      PCRE2_UTF | PCRE2_USE_OFFSET_LIMIT | (syntax == Syntax::kPattern ? PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C : PCRE2_LITERAL);
  UniqueHandle<CompileContextTraits> context(pcre2_compile_context_create(nullptr));
  if (!context) {
    throw std::bad_alloc();
  }
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  std::size_t offset = 0;
  impl_->code = UniqueHandle<CodeTraits>(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(), options, &error,
                                                       &offset, context.get()));
  require(static_cast<bool>(impl_->code), ExitCode::kBadInput, "{}: the pattern {} is not supported: {}", where, shown(pattern),
          message_of(error));
  // Without a JIT on this processor, or for a pattern it cannot do, the interpreter matches the same, only slower.
  pcre2_jit_compile(impl_->code.get(), PCRE2_JIT_COMPLETE);
}
Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;

void Regex::cut(std::string_view text, Scratch& scratch, std::vector<Match>& out) const {
  out.clear();
  Scratch::Impl& work = *scratch.impl_;
  // Running back once over the whole text is legitimate ("\s*[\r\n]" on nothing but spaces), running wild is not.
  const auto steps = std::min<std::size_t>(10'000'000 + 32 * text.size(), 4'000'000'000);
  pcre2_set_match_limit(work.context.get(), static_cast<std::uint32_t>(steps));
  pcre2_set_depth_limit(work.context.get(), static_cast<std::uint32_t>(steps));
  const double latest = thread_seconds() + 10.0 + 2e-6 * static_cast<double>(text.size());
  std::size_t start = 0;      // where the next match may begin
  std::size_t covered = 0;    // end of the last part in `out`
  std::size_t last_end = std::string_view::npos;
  std::size_t tries = 0;
  while (start <= text.size()) {
    const std::size_t window = std::min(text.size(), start + kWindowBytes);
    pcre2_set_offset_limit(work.context.get(), window);
    int found = work.match(impl_->code.get(), text, start, 0);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT && !work.stack) {
      work.grow_stack();
      found = work.match(impl_->code.get(), text, start, 0);
    }
    if (found == PCRE2_ERROR_JIT_STACKLIMIT) {
      found = work.match(impl_->code.get(), text, start, PCRE2_NO_JIT);
    }
    if (++tries % 1024 == 0 || found == PCRE2_ERROR_NOMATCH) {
      require(thread_seconds() < latest, ExitCode::kBadInput, "{}: the pattern takes too long on a text of {} bytes", impl_->where, text.size());
    }
    if (found == PCRE2_ERROR_NOMATCH) {
      if (window == text.size()) {
        break;
      }
      start = window + 1;
      while (start < text.size() && (static_cast<unsigned char>(text[start]) & 0xC0U) == 0x80U) {
        ++start;
      }
      continue;
    }
    require(found >= 0, ExitCode::kBadInput, "{}: the pattern fails on a text of {} bytes: {}", impl_->where, text.size(), message_of(found));
    const std::size_t begin = pcre2_get_ovector_pointer(work.data.get())[0];
    const std::size_t end = pcre2_get_ovector_pointer(work.data.get())[1];
    if (begin == end && begin == last_end) {
      start = end < text.size() ? end + utf8_head(text.substr(end)).length : end + 1;
      continue;
    }
    if (covered != begin) {
      out.push_back({covered, begin, false});
    }
    out.push_back({begin, end, true});
    covered = last_end = start = end;
  }
  if (covered != text.size()) {
    out.push_back({covered, text.size(), false});
  }
}

}  // namespace unmask::runtime::tokenizer
