// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "launcher/options/command_line.h"
#include "launcher/options/command_table.h"
#include "launcher/options/help.h"
#include "launcher/options/man_page.h"

namespace unmask::launcher {
namespace {

using testing::AllOf;
using testing::HasSubstr;

using Arguments = std::vector<std::string>;

Invocation parse(Arguments arguments, std::map<std::string, std::string> environment = {}) {
  return parse_command_line(arguments, [&](const std::string& name) -> std::optional<std::string> {
    const auto at = environment.find(name);
    return at == environment.end() ? std::nullopt : std::optional(at->second);
  });
}

/// The message of the usage error that these arguments must give.
std::string fault(Arguments arguments, std::map<std::string, std::string> environment = {}) {
  try {
    parse(std::move(arguments), std::move(environment));
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kUsage) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "accepted";
  return "";
}

/// Arguments that make a command legal.
Arguments minimal(const CommandSpec& command) {
  switch (command.command) {
    case Command::kGenerate:
      return {"generate", "--model", "m", "--prompt", "p"};
    case Command::kLogits:
      return {"logits", "--model", "m", "--prompt-tokens", "1", "--output", "o"};
    case Command::kBench:
      return {"bench", "limits"};
    case Command::kBatch:
      return {"batch", "--model", "m", "--input", "q", "--output", "a"};
    case Command::kPack:
      return {"pack", "--model", "m", "--output", "o"};
    case Command::kTokenize:
    case Command::kDetokenize:
    case Command::kInfo:
    case Command::kCheck:
      break;
  }
  return {std::string(command.name), "--model", "m"};
}

/// A value that is not the default.
std::string another_value(const OptionSpec& spec) {
  switch (spec.kind) {
    case ValueKind::kFlag:
      return "on";
    case ValueKind::kOnOff:
      return spec.fallback == "on" ? "off" : "on";
    case ValueKind::kChoice:
    case ValueKind::kChoices:
      return std::string(split_choices(spec.choices).back());
    case ValueKind::kInteger:
      return std::to_string(spec.max);
    case ValueKind::kReal:
      return format("{}", spec.max_real);
    case ValueKind::kText:
      break;
  }
  return "-some text=";
}

TEST(Options, OnlyTheBenchOfQualityTakesSeveralTypes) {
  EXPECT_EQ(parse({"bench", "quality", "--model", "m", "--dtype", "int8,int4"}).values.text("dtype"), "int8,int4");
  EXPECT_THAT(fault({"bench", "quality", "--model", "m", "--dtype", "int8,int3"}), HasSubstr("expected one of bf16, f32, int8, int4"));
  EXPECT_THAT(fault({"bench", "quality", "--model", "m", "--dtype", ","}), HasSubstr("expected one of"));
  EXPECT_THAT(fault({"bench", "gemm", "--dtype", "int8,int4"}), HasSubstr("expected one of bf16, f32, int8, int4, found 'int8,int4'"));
  EXPECT_THAT(fault({"info", "--dtype", "int8,int4"}), HasSubstr("expected one of"));
  EXPECT_THAT(fault({"pack", "--model", "m", "--output", "o", "--dtype", "f32"}), HasSubstr("bf16, int8 or int4"));
}

TEST(Options, EveryOptionParsesOnEveryCommandThatTakesIt) {
  for (const CommandSpec& command : command_table()) {
    for (const OptionSpec& spec : option_table()) {
      if (spec.name == "requests" || spec.name == "raw" || spec.name == "show-steps") {
        continue;  // these need or exclude others: see Combinations
      }
      Arguments arguments = minimal(command);
      const std::string option = "--" + std::string(spec.name);
      if (const auto at = std::ranges::find(arguments, option); at != arguments.end()) {
        arguments.erase(at, at + 2);
      }
      arguments.push_back(option);
      if (spec.kind != ValueKind::kFlag) {
        arguments.push_back(another_value(spec));
      }
      if (spec.commands.has(command.command)) {
        const Invocation got = parse(arguments);
        EXPECT_EQ(got.values.text(spec.name), another_value(spec)) << command.name << ' ' << spec.name;
        EXPECT_TRUE(got.values.given(spec.name));
      } else {
        EXPECT_THAT(fault(arguments), AllOf(HasSubstr("has no option"), HasSubstr(option))) << command.name;
      }
    }
  }
}

TEST(Options, TheEnvironmentGivesWhatTheCommandLineDoesNot) {
  for (const OptionSpec& spec : option_table()) {
    if (spec.commands.has(Command::kGenerate) && spec.name != "requests" && spec.name != "show-steps") {
      const Arguments arguments = spec.name == "raw" ? Arguments{"generate", "--model", "m", "--prompt-tokens", "1"} : minimal(command_table()[0]);
      const bool is_given = std::ranges::count(arguments, "--" + std::string(spec.name)) > 0;
      const auto got = parse(arguments, {{environment_name(spec), another_value(spec)}});
      EXPECT_EQ(got.values.text(spec.name) == another_value(spec), !is_given) << spec.name;
    }
  }
  const auto both = parse({"generate", "--model", "m", "--prompt", "p", "--gen-length", "7"},
                          {{"UNMASK_GEN_LENGTH", "9"}, {"UNMASK_SEED", "18446744073709551615"}, {"UNMASK_JSON", "True"}});
  EXPECT_EQ(both.values.integer("gen-length"), 7);
  EXPECT_EQ(both.values.sampling().seed, 18446744073709551615U);
  EXPECT_TRUE(both.values.is_on("json"));
  EXPECT_FALSE(parse(minimal(command_table()[0]), {{"UNMASK_JSON", "0"}}).values.given("json"));
  EXPECT_FALSE(parse(minimal(command_table()[0]), {{"UNMASK_SEED", ""}}).values.given("seed"));
  EXPECT_THAT(fault(minimal(command_table()[0]), {{"UNMASK_GEN_LENGTH", "0"}}), HasSubstr("UNMASK_GEN_LENGTH"));
  EXPECT_THAT(fault(minimal(command_table()[0]), {{"UNMASK_JSON", "maybe"}}), HasSubstr("UNMASK_JSON"));
}

TEST(Options, ValuesOutOfRangeAreRefusedWithWhatIsExpected) {
  const auto with = [](const std::string& option, const std::string& value) {
    return fault({"generate", "--model", "m", "--prompt", "p", option, value});
  };
  EXPECT_THAT(with("--gen-length", "0"), AllOf(HasSubstr("--gen-length"), HasSubstr("from 1"), HasSubstr("found '0'")));
  EXPECT_THAT(with("--gen-length", "-1"), HasSubstr("found '-1'"));
  EXPECT_THAT(with("--gen-length", "12x"), HasSubstr("found '12x'"));
  EXPECT_THAT(with("--gen-length", ""), HasSubstr("found ''"));
  EXPECT_THAT(with("--gen-length", "99999999999999999999"), HasSubstr("whole number"));
  EXPECT_THAT(with("--threshold", "1.01"), HasSubstr("from 0 to 1"));
  for (const char* no_number : {"nan", "inf", "-0.5", "0,5", "1e400", " 1"}) {
    EXPECT_THAT(with("--threshold", no_number), HasSubstr("from 0 to 1")) << no_number;
  }
  EXPECT_THAT(with("--decoder", "thresold"), HasSubstr("threshold, steps, factor, credit, hierarchy"));
  EXPECT_THAT(with("--stop-at-eos", "true"), HasSubstr("on or off"));
  EXPECT_THAT(with("--stop", ""), HasSubstr("not empty"));
}

TEST(Options, TextsAreTakenAsTheyAre) {
  const auto got = parse({"generate", "--model=m", "--prompt", "--seed", "--prompt", "", "--prompt=", "--prompt=-5=x", "--prompt",
                          "[a,b]", "--stop", "x", "--stop", "y", "--seed", "1", "--seed", "2"});
  EXPECT_EQ(got.values.texts("prompt"), (Arguments{"--seed", "", "", "-5=x", "[a,b]"}));
  EXPECT_EQ(got.values.texts("stop"), (Arguments{"x", "y"}));
  EXPECT_EQ(got.values.texts("seed"), (Arguments{"2"})) << "the last mention wins";
}

TEST(Options, DefaultsAreThoseOfTheSamplingOptions) {
  const runtime::SamplingOptions table = OptionValues().sampling();
  const runtime::SamplingOptions code;
  EXPECT_EQ(table.gen_length, code.gen_length);
  EXPECT_EQ(table.block_length, code.block_length);
  EXPECT_EQ(table.decoder, code.decoder);
  EXPECT_EQ(table.steps, code.steps);
  EXPECT_EQ(table.threshold, code.threshold);
  EXPECT_EQ(table.factor, code.factor);
  EXPECT_EQ(table.low_threshold, code.low_threshold);
  EXPECT_EQ(table.credit_decay, code.credit_decay);
  EXPECT_EQ(table.credit_power, code.credit_power);
  EXPECT_EQ(table.credit_weight, code.credit_weight);
  EXPECT_EQ(table.cache, code.cache);
  EXPECT_EQ(table.look_before, code.look_before);
  EXPECT_EQ(table.look_after, code.look_after);
  EXPECT_EQ(table.warmup, code.warmup);
  EXPECT_EQ(table.temperature, code.temperature);
  EXPECT_EQ(table.remasking, code.remasking);
  EXPECT_EQ(table.cfg_scale, code.cfg_scale);
  EXPECT_EQ(table.seed, code.seed);
  EXPECT_EQ(table.stop_at_eos, code.stop_at_eos);
  EXPECT_EQ(table.stop, code.stop);
  EXPECT_EQ(table.mask_token, code.mask_token);
  EXPECT_EQ(table.smoothing, code.smoothing);
  EXPECT_EQ(table.smoothing_weight, code.smoothing_weight);
  EXPECT_EQ(table.smoothing_growth, code.smoothing_growth);
  EXPECT_EQ(table.smoothing_cap, code.smoothing_cap);
  EXPECT_EQ(table.threshold_decay, code.threshold_decay);
}

TEST(Options, EverySamplingOptionReachesTheRequest) {
  const OptionValues values({{"gen-length", {"40"}}, {"block-length", {"13"}}, {"decoder", {"hierarchy"}}, {"steps", {"20"}},
                             {"threshold", {"0.25"}}, {"factor", {"2.5"}}, {"low-threshold", {"0.125"}}, {"credit-decay", {"0.5"}},
                             {"credit-power", {"0.75"}}, {"credit-weight", {"1.5"}}, {"cache", {"vicinity"}}, {"look-before", {"3"}},
                             {"look-after", {"5"}}, {"warmup", {"2"}}, {"temperature", {"0.5"}}, {"remasking", {"random"}},
                             {"cfg-scale", {"2"}}, {"seed", {"11"}}, {"stop-at-eos", {"off"}}, {"stop", {"a", "b"}},
                             {"mask-token-id", {"319"}}, {"smoothing", {"on"}}, {"smoothing-weight", {"0.25"}},
                             {"smoothing-growth", {"0.5"}}, {"smoothing-cap", {"0.75"}}, {"threshold-decay", {"0.125"}}});
  const runtime::SamplingOptions got = values.sampling();
  EXPECT_EQ(got.gen_length, 40);
  EXPECT_EQ(got.block_length, 13);
  EXPECT_EQ(got.decoder, runtime::DecoderKind::kHierarchy);
  EXPECT_EQ(got.steps, 20);
  EXPECT_EQ(got.threshold, 0.25);
  EXPECT_EQ(got.factor, 2.5);
  EXPECT_EQ(got.low_threshold, 0.125);
  EXPECT_EQ(got.credit_decay, 0.5);
  EXPECT_EQ(got.credit_power, 0.75);
  EXPECT_EQ(got.credit_weight, 1.5);
  EXPECT_EQ(got.cache, runtime::CachePolicy::kVicinity);
  EXPECT_EQ(got.look_before, 3);
  EXPECT_EQ(got.look_after, 5);
  EXPECT_EQ(got.warmup, 2);
  EXPECT_EQ(got.temperature, 0.5);
  EXPECT_EQ(got.remasking, runtime::Remasking::kRandom);
  EXPECT_EQ(got.cfg_scale, 2);
  EXPECT_EQ(got.seed, 11U);
  EXPECT_FALSE(got.stop_at_eos);
  EXPECT_EQ(got.stop, (Arguments{"a", "b"}));
  EXPECT_EQ(got.mask_token, 319);
  EXPECT_TRUE(got.smoothing);
  EXPECT_EQ(got.smoothing_weight, 0.25);
  EXPECT_EQ(got.smoothing_growth, 0.5);
  EXPECT_EQ(got.smoothing_cap, 0.75);
  EXPECT_EQ(got.threshold_decay, 0.125);
  for (const OptionSpec& spec : option_table()) {
    EXPECT_EQ(spec.apply != nullptr, spec.group == OptionGroup::kSampling) << spec.name;
    if (spec.apply != nullptr) {
      EXPECT_TRUE(values.given(spec.name)) << "extend this test for " << spec.name;
    }
  }
}

TEST(Options, MistypedWordsAreRecognised) {
  EXPECT_THAT(fault({"genrate"}), HasSubstr("did you mean 'generate'?"));
  EXPECT_THAT(fault({"gen"}), HasSubstr("did you mean 'generate'?"));
  EXPECT_THAT(fault({"qqqqqqqq"}), testing::Not(HasSubstr("did you mean")));
  EXPECT_THAT(fault({}), HasSubstr("expected a command"));
  EXPECT_THAT(fault({"generate", "--model", "m", "--prompt", "p", "--gen-lenght", "3"}), HasSubstr("did you mean --gen-length?"));
  EXPECT_THAT(fault({"generate", "--model", "m", "a question"}), HasSubstr("found 'a question'"));
  EXPECT_THAT(fault({"generate", "--model", "m", "--prompt"}), HasSubstr("--prompt"));
  EXPECT_THAT(fault({"generate", "--model", "m", "--prompt", "p", "--json=perhaps"}), HasSubstr("perhaps"));
  EXPECT_TRUE(parse({"generate", "--model", "m", "--prompt", "p", "--json=on"}).values.is_on("json"));
  EXPECT_FALSE(parse({"generate", "--model", "m", "--prompt", "p", "--json=off"}).values.is_on("json"));
}

TEST(Options, Combinations) {
  EXPECT_THAT(fault({"generate", "--prompt", "p"}), HasSubstr("expected --model"));
  EXPECT_THAT(fault({"generate", "--model", "m"}), HasSubstr("--requests"));
  EXPECT_THAT(fault({"generate", "--model", "m", "--prompt", "p", "--requests", "-"}), HasSubstr("exclude"));
  EXPECT_THAT(fault({"generate", "--model", "m", "--prompt", "p", "--raw", "--system", "s"}), HasSubstr("exclude"));
  EXPECT_THAT(fault({"generate", "--model", "m", "--prompt", "p", "--show-steps"}), HasSubstr("--json"));
  EXPECT_THAT(fault({"generate", "--model", "m", "--requests", "-", "--show", "on"}), HasSubstr("standard output"));
  EXPECT_THAT(fault({"logits", "--model", "m", "--output", "o"}), HasSubstr("--prompt-tokens"));
  EXPECT_NO_THROW(parse({"generate", "--model", "m", "--requests", "-", "--show-steps"}));
  EXPECT_NO_THROW(parse({"generate", "--model", "m", "--prompt", "p", "--raw"}));
  EXPECT_NO_THROW(parse({"info"}));
  EXPECT_NO_THROW(parse({"check"}));
}

TEST(Help, ListsEveryOptionOfACommandAndNoOther) {
  for (const CommandSpec& command : command_table()) {
    const std::string help = command_help(command.command);
    for (const OptionSpec& spec : option_table()) {
      const bool is_listed = help.find(format("--{} ", spec.name)) != std::string::npos || help.find(format("--{}\n", spec.name)) != std::string::npos;
      if (spec.commands.has(command.command)) {
        EXPECT_TRUE(is_listed) << command.name << ' ' << spec.name;
      }
    }
    EXPECT_THAT(program_help(), HasSubstr(format("\n  {} ", command.name)));
    std::size_t begin = 0;
    for (std::size_t end = 0; (end = help.find('\n', begin)) != std::string::npos; begin = end + 1) {
      EXPECT_LE(end - begin, 120U) << help.substr(begin, end - begin);
    }
  }
  const std::string help = command_help(Command::kGenerate);
  EXPECT_THAT(help, HasSubstr("--gen-length TOKENS"));
  EXPECT_THAT(help, HasSubstr("default 128"));
}

TEST(Help, IsFoundByEveryRoad) {
  EXPECT_EQ(parse({"--help"}).kind, Invocation::Kind::kHelp);
  EXPECT_EQ(parse({"help"}).kind, Invocation::Kind::kHelp);
  EXPECT_EQ(parse({"--version"}).kind, Invocation::Kind::kVersion);
  for (const Arguments& arguments : {Arguments{"logits", "--help"}, Arguments{"help", "logits"}, Arguments{"logits", "--nonsense", "-h"}}) {
    EXPECT_EQ(parse(arguments).kind, Invocation::Kind::kCommandHelp);
    EXPECT_EQ(parse(arguments).command, Command::kLogits);
  }
}

TEST(Options, NamesAreUniqueAndKeysLeadBack) {
  std::set<std::string_view> names;
  for (const OptionSpec& spec : option_table()) {
    EXPECT_TRUE(names.insert(spec.name).second) << spec.name;
    EXPECT_EQ(find_sampling_key(request_key(spec)), spec.group == OptionGroup::kSampling ? &spec : nullptr);
    if (!spec.fallback.empty()) {
      EXPECT_FALSE(find_fault(spec, spec.fallback).has_value()) << spec.name;
    }
  }
  EXPECT_EQ(find_sampling_key("gen-length"), nullptr) << "a request's keys have underscores";
}

TEST(ManPages, NameEveryOptionAndNothingLooksLikeARequest) {
  for (const CommandSpec& command : command_table()) {
    const std::string page = command_man_page(command.command, "1.2.3");
    EXPECT_EQ(page.rfind(format(".TH UNMASK-"), 0), 0U);
    for (const OptionSpec& spec : option_table()) {
      std::string name = format("\\-\\-{}", spec.name);
      for (auto at = name.find('-', 4); at != name.npos; at = name.find('-', at + 2)) {
        name.replace(at, 1, "\\-");
      }
      EXPECT_TRUE(!spec.commands.has(command.command) || page.find(name) != page.npos) << command.name << ' ' << spec.name;
    }
    EXPECT_THAT(program_man_page("1.2.3"), HasSubstr(format(".B {}\n", command.name)));
  }
  const std::string page = command_man_page(Command::kBatch, "1.2.3");
  for (std::size_t at = page.find("\n."); at != page.npos; at = page.find("\n.", at + 1)) {
    const std::string request = page.substr(at + 2, 2);
    EXPECT_TRUE(request == "TH" || request == "SH" || request == "SS" || request == "TP" || request == "B " || request == "BR" ||
                request == "nf" || request == "fi") << request;
  }
}

}  // namespace
}  // namespace unmask::launcher
