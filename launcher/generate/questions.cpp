// SPDX-License-Identifier: Apache-2.0
#include "launcher/generate/questions.h"

#include "runtime/engine.h"

namespace unmask::launcher {
namespace {

/// What the command line says, and on top of it what the request says itself.
OptionValues::Given merged_sampling(const OptionValues& options, const RequestInput& input) {
  OptionValues::Given merged = input.sampling;
  for (const auto& [name, values] : options.all_given()) {
    if (const OptionSpec* spec = find_option(name); spec != nullptr && spec->group == OptionGroup::kSampling) {
      merged.emplace(name, values);
    }
  }
  return merged;
}

}  // namespace

PromptOptions prompt_options(const OptionValues& options) {
  PromptOptions out;
  out.chat = options.is_on("raw") ? PromptOptions::Template::kRaw : PromptOptions::Template::kUse;
  out.special = options.is_on("special") ? PromptOptions::Special::kRecognise : PromptOptions::Special::kAsText;
  if (options.given("system")) {
    out.system = options.text("system");
  }
  return out;
}

TokenRequest tokenize_input(const RequestInput& input, std::int64_t number, const Tokenizing& how, PromptOptions prompt) {
  if (input.error) {
    throw *input.error;
  }
  TokenRequest request{.number = number, .id = input.id, .prompt = encode_prompt(how.model, input, prompt),
                       .sampling = merged_sampling(how.options, input)};
  const runtime::Request typed = request.to_request();
  runtime::require_runnable(typed, how.config);
  require(typed.options.stop.empty() || how.model.tokenizer, ExitCode::kBadInput,
          "stop texts need a tokenizer.json in the model folder, found none");
  return request;
}

TokenQuestions tokenize_inputs(const Job& job, const ModelText& model, const runtime::ModelConfig& config) {
  const bool from_file = job.options().given("requests");
  const Tokenizing how{job.options(), model, config};
  const PromptOptions prompt = prompt_options(job.options());
  TokenQuestions out;
  for (const RequestInput& input : job.inputs) {
    const auto number = static_cast<std::int64_t>(out.questions.size());
    Question& question = out.questions.emplace_back();
    question.id_json = input.id_json;
    try {
      TokenRequest request = tokenize_input(input, number, how, prompt);
      const runtime::SamplingOptions sampling = sampling_of(request.sampling);
      question.prompt = request.prompt;
      question.stops = sampling.stop;
      question.gen_length = sampling.gen_length;
      out.requests.push_back(std::move(request));
    } catch (const Error& error) {
      if (!from_file) {
        throw Error(error.code(), job.inputs.size() == 1 ? error.what() : format("prompt {}: {}", number + 1, error.what()));
      }
      runtime::Answer& refused = out.refused.emplace_back();
      refused.number = number;
      refused.error = error;
    }
  }
  return out;
}

}  // namespace unmask::launcher
