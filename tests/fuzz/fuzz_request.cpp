// SPDX-License-Identifier: Apache-2.0
// One line of a request file: whatever it holds, it becomes a request whose options can be read, or that request's error.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "launcher/batch/batch_line.h"
#include "launcher/text/request_line.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace unmask;
  const std::string_view line(reinterpret_cast<const char*>(data), size);
  const auto request = launcher::parse_request_line(line, 1);
  if (!request.error) {
    const auto options = launcher::OptionValues(request.sampling).sampling();
    if (options.gen_length < 1 || options.block_length < 1 || !(options.threshold >= 0 && options.threshold <= 1)) {
      std::abort();
    }
  }
  const auto of_batch = launcher::parse_batch_line(line, 1);
  if (of_batch.request.error.has_value() == of_batch.error_kind.empty() && of_batch.form != launcher::BatchLine::Form::kPlain) {
    std::abort();
  }
  if (!of_batch.request.error) {
    static_cast<void>(launcher::OptionValues(of_batch.request.sampling).sampling());
  }
  try {
    launcher::parse_messages(line, "messages");
  } catch (const Error&) {
  }
  try {
    launcher::parse_token_list(line, "tokens");
  } catch (const Error&) {
  }
  return 0;
}
