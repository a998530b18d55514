// SPDX-License-Identifier: Apache-2.0
// make_checkpoint --config FILE --output FOLDER --seed N [--shard-bytes B]: a random checkpoint of any config.json at any size.
#include <cstdio>
#include <exception>
#include <thread>

#include <CLI/CLI.hpp>

#include "base/error.h"
#include "bench/make_checkpoint_writer.h"

namespace {

int report(const char* what, unmask::ExitCode code) {
  std::fprintf(stderr, "make_checkpoint: %s\n", what);
  return static_cast<int>(code);
}

}  // namespace

int main(int argc, char** argv) {
  using unmask::ExitCode;
  unmask::bench::MakeCheckpointOptions options;
  int num_threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  CLI::App app("Writes a random checkpoint in Hugging Face's form: config.json copied, BF16 safetensors.", "make_checkpoint");
  app.add_option("--config", options.config, "config.json of the model to imitate")->required();
  app.add_option("--output", options.output, "folder to write, empty or not there yet")->required();
  app.add_option("--seed", options.seed, "other seeds give other weights")
      ->check(CLI::NonNegativeNumber)  // CLI11 would take -1 for 2^64 - 1
      ->capture_default_str();
  app.add_option("--shard-bytes", options.shard_bytes, "bytes of tensors in a file")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--threads", num_threads, "the result does not depend on them")->check(CLI::Range(1, 1024))->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : static_cast<int>(ExitCode::kUsage);
  }
  try {
    unmask::ThreadTeam team(num_threads);
    unmask::bench::make_checkpoint(options, team, [](std::string_view line) {
      std::fprintf(stderr, "%.*s\n", static_cast<int>(line.size()), line.data());
    });
    return static_cast<int>(ExitCode::kDone);
  } catch (const unmask::Error& e) {
    return report(e.what(), e.code());
  } catch (const std::exception& e) {
    return report(e.what(), ExitCode::kBadInput);
  }
}
