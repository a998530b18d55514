// SPDX-License-Identifier: Apache-2.0
#include "launcher/generate/inputs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "launcher/io/line_reader.h"
#include "runtime/input_file.h"

namespace unmask::launcher {
namespace {

bool is_blank(const std::string& line) { return line.find_first_not_of(" \t\r") == std::string::npos; }

std::vector<RequestInput> read_request_lines(const std::string& file) {
  runtime::FileDescriptor opened;
  if (file != "-") {
    opened = runtime::FileDescriptor(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
    require(static_cast<bool>(opened), ExitCode::kBadInput, "--requests {}: cannot be read: {}", file, std::strerror(errno));
    struct stat status {};
    require(::fstat(opened.get(), &status) == 0 && !S_ISDIR(status.st_mode), ExitCode::kBadInput,
            "--requests {}: expected a file or a pipe with one JSON object per line, found a folder", file);
  }
  LineReader reader(opened ? opened.get() : STDIN_FILENO, file == "-" ? "standard input" : file);
  std::vector<RequestInput> requests;
  while (const auto line = reader.next()) {
    if (line->too_long) {
      requests.push_back(parse_request_line("{}", line->number));
      requests.back().error.emplace(ExitCode::kBadInput, format("line {}: expected at most {} bytes, found more", line->number,
                                                                LineReader::kLongestLine));
    } else if (!is_blank(line->text)) {
      requests.push_back(parse_request_line(line->text, line->number));
    }
  }
  return requests;
}

}  // namespace

std::vector<RequestInput> read_inputs(const OptionValues& options) {
  if (options.given("requests")) {
    return read_request_lines(options.text("requests"));
  }
  std::vector<RequestInput> inputs;
  const auto add = [&](RequestInput::Kind kind) -> RequestInput& {
    RequestInput& input = inputs.emplace_back();
    input.id = std::to_string(inputs.size());
    input.id_json = '"' + input.id + '"';
    input.kind = kind;
    return input;
  };
  for (const std::string& prompt : options.texts("prompt")) {
    add(RequestInput::Kind::kText).text = prompt;
  }
  for (const std::string& list : options.texts("prompt-tokens")) {
    add(RequestInput::Kind::kTokens).tokens = parse_token_list(list, "--prompt-tokens");
  }
  for (const std::string& file : options.texts("messages")) {
    add(RequestInput::Kind::kMessages).text = parse_messages(runtime::read_text_file(file, LineReader::kLongestLine), file);
  }
  return inputs;
}

}  // namespace unmask::launcher
