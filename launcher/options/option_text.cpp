// SPDX-License-Identifier: Apache-2.0
#include "launcher/options/option_text.h"

namespace unmask::launcher {

std::string_view title_of(OptionGroup group) {
  switch (group) {
    case OptionGroup::kModel:
      return "Model";
    case OptionGroup::kInput:
      return "Input";
    case OptionGroup::kSampling:
      return "Sampling (in a line of --requests the same names with underscores)";
    case OptionGroup::kOutput:
      return "Output";
    case OptionGroup::kMachine:
      return "Machine";
  }
  return "";
}

std::string usage_of(const OptionSpec& spec) {
  std::string out = format("  {}--{}", spec.letter == 0 ? "" : format("-{}, ", spec.letter), spec.name);
  if (spec.kind == ValueKind::kOnOff) {
    out += " on|off";
  } else if (!spec.choices.empty()) {
    out += format(" {}", spec.choices);
  } else if (spec.kind != ValueKind::kFlag) {
    out += format(" {}", spec.value);
  }
  return out;
}

namespace {

std::string range(const OptionSpec& spec) {
  if (spec.kind == ValueKind::kInteger) {
    return spec.max < (std::uint64_t{1} << 31) - 1 ? format("{} to {}", spec.min, spec.max) : format("{} or more", spec.min);
  }
  return spec.kind == ValueKind::kReal ? format("0 to {}", spec.max_real) : "";
}

}  // namespace

std::string description_of(const OptionSpec& spec) {
  std::string notes = range(spec);
  const auto add = [&](const std::string& note) { notes += (notes.empty() ? "" : "; ") + note; };
  if (spec.repeat == Repeat::kCollects) {
    add("repeatable");
  }
  if (!spec.fallback_note.empty()) {
    add(format("default: {}", spec.fallback_note));
  } else if (!spec.fallback.empty()) {
    add(format("default {}", spec.fallback));
  }
  return notes.empty() ? std::string(spec.help) : format("{} [{}]", spec.help, notes);
}

std::span<const ExitCodeText> exit_codes() {
  static constexpr auto kCodes = std::to_array<ExitCodeText>({
      {0, "done"},
      {2, "wrong command line"},
      {3, "a model or an input cannot be used"},
      {4, "a peer was lost, or a wait took too long"},
      {5, "finished, but some requests of --requests or of a batch failed"},
      {6, "input/output failed (disk full)"},
      {70, "a bug of unmask: please report it"},
      {75, "a batch stopped early, when it was asked to: run the same command again"},
  });
  return kCodes;
}

}  // namespace unmask::launcher
