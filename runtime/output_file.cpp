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

OutputFile::OutputFile(std::filesystem::path path)
    : path_(std::move(path)), partial_(format("{}.{}.partial", path_.string(), ::getpid())) {
  descriptor_ = FileDescriptor(::open(partial_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  require(static_cast<bool>(descriptor_), ExitCode::kIo, "{}: cannot be created: {}", partial_.string(), error_text(errno));
}

OutputFile::~OutputFile() {
  if (descriptor_) {
    static_cast<void>(::unlink(partial_.c_str()));
  }
}

void OutputFile::write(std::uint64_t offset, std::span<const std::byte> bytes) const {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(descriptor_.get(), bytes.data(), bytes.size(), narrow<off_t>(offset));
    if (written < 0 && errno == EINTR) {
      continue;
    }
    require(written > 0, ExitCode::kIo, "{}: writing {} bytes at byte {} failed: {}", path_.string(), bytes.size(), offset,
            error_text(errno));
    offset += static_cast<std::uint64_t>(written);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

void OutputFile::sync() const {
  require(::fsync(descriptor_.get()) == 0, ExitCode::kIo, "{}: writing to disk failed: {}", path_.string(), error_text(errno));
}

void OutputFile::commit() {
  std::error_code error;
  std::filesystem::rename(partial_, path_, error);
  require(!error, ExitCode::kIo, "{}: cannot be renamed to {}: {}", partial_.string(), path_.string(), error.message());
  descriptor_.reset();
  const auto folder = path_.parent_path().empty() ? std::filesystem::path(".") : path_.parent_path();
  if (const FileDescriptor opened(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)); opened) {
    ::fsync(opened.get());  // the new name; some file systems cannot, and the file itself is complete all the same
  }
}

}  // namespace unmask::runtime
