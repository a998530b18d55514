// SPDX-License-Identifier: Apache-2.0
#include "runtime/output_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/types.h"

namespace unmask::runtime {

namespace {

/// A device or a pipe: nothing may take its place.
bool is_stream(const std::filesystem::path& path) {
  std::error_code ignored;
  const auto status = std::filesystem::status(path, ignored);
  return std::filesystem::exists(status) && !std::filesystem::is_regular_file(status);
}

std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.parent_path().empty() ? std::filesystem::path(".") : path.parent_path();
}

}  // namespace

void OutputFile::require_place(const std::filesystem::path& path) {
  std::error_code ignored;
  require(!path.empty() && !std::filesystem::is_directory(path, ignored), ExitCode::kIo,
          "{}: expected the name of a file to write, found {}", path.empty() ? "''" : path.string(), path.empty() ? "nothing" : "a folder");
  const auto place = is_stream(path) ? path : folder_of(path);
  require(::access(place.c_str(), W_OK) == 0, ExitCode::kIo, "{}: cannot be written: {}", path.string(), error_text(errno));
}

OutputFile::OutputFile(std::filesystem::path path) : path_(std::move(path)) {
  require_place(path_);
  if (is_stream(path_)) {
    descriptor_ = FileDescriptor(::open(path_.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY));
  } else {
    partial_ = format("{}.{}.partial", path_.string(), ::getpid());
    descriptor_ = FileDescriptor(::open(folder_of(path_).c_str(), O_WRONLY | O_TMPFILE | O_CLOEXEC, 0666));
    if (!descriptor_) {
      descriptor_ = FileDescriptor(::open(partial_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
      is_named_ = true;
    }
  }
  require(static_cast<bool>(descriptor_), ExitCode::kIo, "{}: cannot be created: {}", path_.string(), error_text(errno));
}

OutputFile::~OutputFile() {
  if (descriptor_ && is_named_) {
    static_cast<void>(::unlink(partial_.c_str()));
  }
}

void OutputFile::write(std::uint64_t offset, std::span<const std::byte> bytes) const {
  while (!bytes.empty()) {
    const ssize_t written = partial_.empty() ? ::write(descriptor_.get(), bytes.data(), bytes.size())
                                             : ::pwrite(descriptor_.get(), bytes.data(), bytes.size(), narrow<off_t>(offset));
    if (written < 0 && errno == EINTR) {
      continue;
    }
    require(written > 0, ExitCode::kIo, "{}: writing {} bytes at byte {} failed: {}", path_.string(), bytes.size(), offset,
            error_text(errno));
    offset += static_cast<std::uint64_t>(written);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

void OutputFile::reserve(std::uint64_t bytes) const {
  if (partial_.empty() || bytes == 0) {
    return;
  }
  // The system call, since the library's function would write every block where the file system cannot do it.
  const bool failed = ::fallocate(descriptor_.get(), 0, 0, narrow<off_t>(bytes)) != 0;
  require(!failed || (errno != ENOSPC && errno != EDQUOT && errno != EFBIG), ExitCode::kIo, "{}: there is no room for its {} bytes: {}", path_.string(),
          bytes, error_text(errno));
}

void OutputFile::sync() const {
  require(partial_.empty() || ::fsync(descriptor_.get()) == 0, ExitCode::kIo, "{}: writing to disk failed: {}", path_.string(), error_text(errno));
}

void OutputFile::commit() {
  if (partial_.empty()) {
    descriptor_.reset();
    return;
  }
  if (!is_named_) {  // a link never takes another file's place: it needs a name of its own first
    const std::string own = format("/proc/self/fd/{}", descriptor_.get());
    require(::linkat(AT_FDCWD, own.c_str(), AT_FDCWD, partial_.c_str(), AT_SYMLINK_FOLLOW) == 0, ExitCode::kIo, "{}: cannot be named: {}",
            partial_.string(), error_text(errno));
    is_named_ = true;
  }
  std::error_code error;
  std::filesystem::rename(partial_, path_, error);
  require(!error, ExitCode::kIo, "{}: cannot be renamed to {}: {}", partial_.string(), path_.string(), error.message());
  descriptor_.reset();
  if (const FileDescriptor opened(::open(folder_of(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)); opened) {
    ::fsync(opened.get());  // the new name; some file systems cannot, and the file itself is complete all the same
  }
}

}  // namespace unmask::runtime
