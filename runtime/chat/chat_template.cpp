// SPDX-License-Identifier: Apache-2.0
#include "runtime/chat/chat_template.h"

#include <utility>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "runtime/chat/evaluator.h"
#include "runtime/chat/from_json.h"
#include "runtime/chat/parser.h"
#include "runtime/chat/template_source.h"
#include "runtime/chat/unicode.h"

namespace unmask::runtime {

struct ChatTemplate::Impl {
  std::string name;
  chat::Body body;
  std::vector<std::pair<std::string, chat::Value>> special_tokens;
};

ChatTemplate::ChatTemplate(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
ChatTemplate::~ChatTemplate() = default;
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;

namespace {

chat::Body parse_body(std::string_view source, std::string_view name) {
  const chat::Limits limits;
  require(source.size() <= limits.template_bytes, ExitCode::kBadInput, "chat template {}: at most {} bytes expected, found {}", name,
          limits.template_bytes, source.size());
  const auto invalid = chat::first_invalid_utf8(source);
  require(!invalid, ExitCode::kBadInput, "chat template {}: UTF-8 expected, byte {} is not", name, invalid.value_or(0));
  try {
    return chat::parse_template(source);
  } catch (const chat::SyntaxError& error) {
    fail(ExitCode::kBadInput, "chat template {}, line {}: {}; change the template or run without it (--raw)", name, error.line(),
         error.what());
  }
}

}  // namespace

ChatTemplate ChatTemplate::parse(std::string_view source, std::string_view name) {
  auto impl = std::make_unique<Impl>();
  impl->name = std::string(name);
  impl->body = parse_body(source, name);
  return ChatTemplate(std::move(impl));
}

std::optional<ChatTemplate> ChatTemplate::read(const ModelFiles& files) {
  std::optional<chat::TemplateSource> source = chat::read_template_source(files);
  if (!source) {
    return std::nullopt;
  }
  auto impl = std::make_unique<Impl>();
  impl->name = source->name;
  impl->body = parse_body(source->text, source->name);
  for (auto& [name, text] : source->special_tokens) {
    impl->special_tokens.emplace_back(name, chat::Text(std::move(text), chat::Origin::kTemplate));
  }
  return ChatTemplate(std::move(impl));
}

SourcedText ChatTemplate::render(const nlohmann::ordered_json& messages, const RenderOptions& options) const {
  require(messages.is_array(), ExitCode::kBadInput, "messages: a JSON array of objects with role and content expected, found {}",
          messages.type_name());
  std::vector<std::pair<std::string, chat::Value>> variables = impl_->special_tokens;
  try {
    variables.emplace_back("messages", chat::from_json(messages, chat::Origin::kUser));
  } catch (const chat::TemplateError& error) {
    fail(ExitCode::kBadInput, "messages: {}", error.what());
  }
  variables.emplace_back("add_generation_prompt", options.add_generation_prompt);
  variables.emplace_back("tools", chat::None{});
  variables.emplace_back("documents", chat::None{});
  chat::Evaluator evaluator(variables, chat::Limits());
  try {
    const chat::Text text = evaluator.run(impl_->body);
    SourcedText result;
    result.text = std::string(text.bytes());
    result.user = text.user();
    return result;
  } catch (const chat::TemplateError& error) {
    fail(ExitCode::kBadInput, "chat template {}, line {}: {}", impl_->name, evaluator.line(), error.what());
  }
}

}  // namespace unmask::runtime
