// SPDX-License-Identifier: Apache-2.0
#include "launcher/text/wire.h"

#include "base/byte_stream.h"


namespace unmask::launcher {
namespace {

enum class Tag : std::uint8_t { kDraft, kAnswer };

void put_values(ByteWriter& out, const OptionValues::Given& values) {
  out.put(static_cast<std::uint64_t>(values.size()));
  for (const auto& [name, texts] : values) {
    out.put(name).put(static_cast<std::uint64_t>(texts.size()));
    for (const std::string& text : texts) {
      out.put(text);
    }
  }
}

OptionValues::Given get_values(ByteReader& in) {
  OptionValues::Given values;
  for (auto n = in.get<std::uint64_t>(); n > 0; --n) {
    auto& texts = values[in.get_text()];
    for (auto m = in.get<std::uint64_t>(); m > 0; --m) {
      texts.push_back(in.get_text());
    }
  }
  return values;
}

void put_unmasked(ByteWriter& out, const std::vector<runtime::Unmasked>& list) {
  out.put(static_cast<std::uint64_t>(list.size()));
  for (const runtime::Unmasked& u : list) {
    out.put(u.position).put(u.token).put(u.confidence);
  }
}

std::vector<runtime::Unmasked> get_unmasked(ByteReader& in) {
  std::vector<runtime::Unmasked> list;
  for (auto n = in.get<std::uint64_t>(); n > 0; --n) {
    runtime::Unmasked u;
    u.position = in.get<std::int64_t>();
    u.token = in.get<TokenId>();
    u.confidence = in.get<float>();
    list.push_back(u);
  }
  return list;
}

}  // namespace

runtime::Request TokenRequest::to_request() const {
  return {.number = number, .id = id, .prompt = prompt, .options = sampling_of(sampling)};
}

std::vector<std::byte> pack(std::span<const TokenRequest> requests) {
  ByteWriter out;
  out.put(static_cast<std::uint64_t>(requests.size()));
  for (const TokenRequest& request : requests) {
    out.put(request.number).put(request.id).put(request.prompt);
    put_values(out, request.sampling);
  }
  return out.take();
}

std::vector<TokenRequest> unpack_requests(std::span<const std::byte> bytes) {
  ByteReader in(bytes);
  std::vector<TokenRequest> requests;
  for (auto n = in.get<std::uint64_t>(); n > 0; --n) {
    TokenRequest& request = requests.emplace_back();
    request.number = in.get<std::int64_t>();
    request.id = in.get_text();
    request.prompt = in.get_list<TokenId>();
    request.sampling = get_values(in);
  }
  return requests;
}

std::vector<std::byte> pack(const OptionValues::Given& values) {
  ByteWriter out;
  put_values(out, values);
  return out.take();
}

OptionValues::Given unpack_values(std::span<const std::byte> bytes) {
  ByteReader in(bytes);
  return get_values(in);
}

std::vector<std::byte> pack(const Draft& draft) {
  ByteWriter out;
  out.put(Tag::kDraft).put(draft.number).put(draft.passes);
  put_unmasked(out, draft.unmasked);
  return out.take();
}

std::vector<std::byte> pack(const runtime::Answer& answer) {
  ByteWriter out;
  out.put(Tag::kAnswer).put(answer.number).put(answer.tokens).put(answer.text_tokens).put(answer.passes).put(answer.rows);
  out.put(answer.finish_reason).put(static_cast<std::uint64_t>(answer.trace.size()));
  for (const runtime::TraceStep& step : answer.trace) {
    out.put(step.block).put(step.window_begin).put(step.window_end);
    put_unmasked(out, step.unmasked);
  }
  out.put(answer.error ? std::uint8_t{1} : std::uint8_t{0});
  if (answer.error) {
    out.put(answer.error->code()).put(std::string_view(answer.error->what()));
  }
  return out.take();
}

std::variant<Draft, runtime::Answer> unpack_posted(std::span<const std::byte> bytes) {
  ByteReader in(bytes);
  if (in.get<Tag>() == Tag::kDraft) {
    Draft draft;
    draft.number = in.get<std::int64_t>();
    draft.passes = in.get<std::int64_t>();
    draft.unmasked = get_unmasked(in);
    return draft;
  }
  runtime::Answer answer;
  answer.number = in.get<std::int64_t>();
  answer.tokens = in.get_list<TokenId>();
  answer.text_tokens = in.get<std::int64_t>();
  answer.passes = in.get<std::int64_t>();
  answer.rows = in.get<std::int64_t>();
  answer.finish_reason = in.get<runtime::FinishReason>();
  for (auto n = in.get<std::uint64_t>(); n > 0; --n) {
    runtime::TraceStep& step = answer.trace.emplace_back();
    step.block = in.get<std::int64_t>();
    step.window_begin = in.get<std::int64_t>();
    step.window_end = in.get<std::int64_t>();
    step.unmasked = get_unmasked(in);
  }
  if (in.get<std::uint8_t>() != 0) {
    const auto code = in.get<ExitCode>();
    answer.error.emplace(code, in.get_text());
  }
  return answer;
}

}  // namespace unmask::launcher
