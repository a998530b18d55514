// SPDX-License-Identifier: Apache-2.0
#include "runtime/input_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "base/error.h"
#include "base/types.h"

namespace unmask::runtime {

std::string error_text(int error) { return std::generic_category().message(error); }

InputFile::InputFile(std::filesystem::path path) : path_(std::move(path)) {
  // Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
  descriptor_ = FileDescriptor(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  require(static_cast<bool>(descriptor_), ExitCode::kBadInput, "{}: cannot be opened: {}", path_.string(), error_text(errno));
  struct stat status {};
  require(::fstat(descriptor_.get(), &status) == 0, ExitCode::kIo, "{}: fstat: {}", path_.string(), error_text(errno));
  require(S_ISREG(status.st_mode), ExitCode::kBadInput, "{}: expected a regular file, found a folder, pipe or device",
          path_.string());
  num_bytes_ = narrow<std::uint64_t>(status.st_size);
}

void InputFile::read(std::uint64_t offset, std::span<std::byte> into) const {
  while (!into.empty()) {
    const ssize_t got = ::pread(descriptor_.get(), into.data(), into.size(), narrow<off_t>(offset));
    if (got < 0 && errno == EINTR) {
      continue;
    }
    require(got >= 0, ExitCode::kIo, "{}: reading {} bytes at byte {} failed: {}", path_.string(), into.size(), offset,
            error_text(errno));
    require(got > 0, ExitCode::kBadInput, "{}: the file ends at byte {}, expected {} more bytes (it had {} when it was opened)",
            path_.string(), offset, into.size(), num_bytes_);
    offset += static_cast<std::uint64_t>(got);
    into = into.subspan(static_cast<std::size_t>(got));
  }
}

void InputFile::expect_sequential_reads() const {
  // Advice only: a file system that does not take it reads just as well.
  static_cast<void>(::posix_fadvise(descriptor_.get(), 0, 0, POSIX_FADV_SEQUENTIAL));
}

std::string read_text_file(const std::filesystem::path& path, std::uint64_t max_bytes) {
  const InputFile file(path);
  require(file.num_bytes() <= max_bytes, ExitCode::kBadInput, "{}: the file has {} bytes, at most {} are accepted",
          path.string(), file.num_bytes(), max_bytes);
  std::string text(file.num_bytes(), '\0');
  file.read(0, std::as_writable_bytes(std::span(text)));
  return text;
}

}  // namespace unmask::runtime
