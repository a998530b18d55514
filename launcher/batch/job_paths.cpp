// SPDX-License-Identifier: Apache-2.0
#include "launcher/batch/job_paths.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

#include "base/error.h"
#include "launcher/batch/answer_log.h"
#include "runtime/output_file.h"

namespace unmask::launcher {
namespace {

struct Named {
  std::string what;
  std::filesystem::path path;
};

bool look_at(const std::filesystem::path& path, struct stat& status) {
  return (path == "-" ? ::fstat(STDIN_FILENO, &status) : ::stat(path.c_str(), &status)) == 0;
}

/// By whatever names, also of files that are yet to be made. Devices and pipes may stand anywhere.
bool is_same_file(const std::filesystem::path& a, const std::filesystem::path& b) {
  struct stat first {}, second {};
  const bool has_first = look_at(a, first), has_second = look_at(b, second);
  if (has_first && has_second) {
    return S_ISREG(first.st_mode) && first.st_dev == second.st_dev && first.st_ino == second.st_ino;
  }
  std::error_code ignored;
  return !has_first && !has_second && std::filesystem::weakly_canonical(a, ignored) == std::filesystem::weakly_canonical(b, ignored);
}

void require_distinct(const std::vector<Named>& files) {
  for (std::size_t i = 0; i < files.size(); ++i) {
    for (std::size_t k = i + 1; k < files.size(); ++k) {
      require(!is_same_file(files[i].path, files[k].path), ExitCode::kUsage,
              "{} and {} are one file, {}: expected a file for each, as one would overwrite the other", files[i].what, files[k].what,
              files[k].path.string());
    }
  }
}

}  // namespace

void require_good_paths(const JobPaths& paths) {
  require(paths.input == "-" || ::access(paths.input.c_str(), R_OK) == 0, ExitCode::kBadInput, "{}: cannot be read: {}",
          paths.input.string(), runtime::error_text(errno));
  std::error_code ignored;
  require(!std::filesystem::exists(paths.output, ignored) || std::filesystem::is_regular_file(paths.output, ignored), ExitCode::kIo,
          "{}: expected a regular file (answers that can be resumed need one), found a folder, pipe or device", paths.output.string());
  runtime::OutputFile::require_place(paths.output);
  std::vector<Named> files = {{"the input", paths.input}, {"the output", paths.output}, {"the journal of the output", journal_of(paths.output)}};
  if (paths.summary) {
    runtime::OutputFile::require_place(*paths.summary);
    files.push_back({"the summary", *paths.summary});
  }
  require_distinct(files);
}

}  // namespace unmask::launcher
