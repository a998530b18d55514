// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.h"
#include "base/types.h"
#include "launcher/batch/files.h"
#include "runtime/input_file.h"

namespace unmask::launcher {
namespace {

using runtime::error_text;
using runtime::FileDescriptor;

class SystemFile : public AppendFile {
 public:
  /// `lock`: LOCK_EX, or LOCK_SH of a file that is only read: over NFS nobody may have that one for himself alone.
  SystemFile(std::string name, FileDescriptor descriptor, int lock) : name_(std::move(name)), descriptor_(std::move(descriptor)), lock_(lock) {
    look_at_end();
  }

  std::uint64_t num_bytes() const override { return end_; }

  std::size_t read(std::uint64_t offset, std::span<char> into) const override {
    std::size_t done = 0;
    while (done < into.size()) {
      const ssize_t n = ::pread(descriptor_.get(), into.data() + done, into.size() - done, narrow<off_t>(offset + done));
      require(n >= 0 || errno == EINTR, ExitCode::kIo, "{}: reading at byte {} failed: {}", name_, offset + done, error_text(errno));
      if (n == 0) {
        break;
      }
      done += n > 0 ? static_cast<std::size_t>(n) : 0;
    }
    return done;
  }

  void append(std::string_view bytes) override {
    while (!bytes.empty()) {
      const ssize_t n = ::pwrite(descriptor_.get(), bytes.data(), bytes.size(), narrow<off_t>(end_));
      if (n < 0 && errno == EINTR) {
        continue;
      }
      require(n > 0, ExitCode::kIo, "{}: writing at byte {} failed: {}; make room and run the same command again, it goes on from there",
              name_, end_, error_text(errno));
      end_ += static_cast<std::uint64_t>(n);
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
  }

  void truncate(std::uint64_t num_bytes) override {
    require(::ftruncate(descriptor_.get(), narrow<off_t>(num_bytes)) == 0, ExitCode::kIo, "{}: cutting it to {} bytes failed: {}", name_,
            num_bytes, error_text(errno));
    end_ = num_bytes;
  }

  void sync() override {
    require(::fsync(descriptor_.get()) == 0, ExitCode::kIo, "{}: writing to disk failed: {}", name_, error_text(errno));
  }

  bool try_lock() override {
    int result = 0;
    do {
      result = ::flock(descriptor_.get(), lock_ | LOCK_NB);
    } while (result != 0 && errno == EINTR);
    require(result == 0 || errno == EWOULDBLOCK, ExitCode::kIo,
            "{}: cannot be locked: {}; put the answers on a file system with locks (Lustre: mounted with -o flock)", name_,
            error_text(errno));
    if (result == 0) {
      look_at_end();  // whoever had it may have written since it was opened
    }
    return result == 0;
  }

 private:
  void look_at_end() {
    struct stat status {};
    require(::fstat(descriptor_.get(), &status) == 0, ExitCode::kIo, "{}: fstat: {}", name_, error_text(errno));
    require(S_ISREG(status.st_mode), ExitCode::kIo, "{}: expected a regular file (answers that can be resumed need one), found a "
            "folder, pipe or device", name_);
    end_ = narrow<std::uint64_t>(status.st_size);
  }

  std::string name_;
  FileDescriptor descriptor_;
  int lock_;
  std::uint64_t end_ = 0;
};

}  // namespace

std::unique_ptr<AppendFile> SystemFiles::open(const std::filesystem::path& file) {
  FileDescriptor opened(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666));
  require(static_cast<bool>(opened), ExitCode::kIo, "{}: cannot be opened for writing: {}", file.string(), error_text(errno));
  auto out = std::make_unique<SystemFile>(file.string(), std::move(opened), LOCK_EX);
  const auto folder = file.parent_path().empty() ? std::filesystem::path(".") : file.parent_path();
  if (const FileDescriptor names(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)); names) {
    ::fsync(names.get());  // some file systems cannot; they keep their names otherwise
  }
  return out;
}

std::unique_ptr<AppendFile> SystemFiles::open_for_reading(const std::filesystem::path& file) {
  FileDescriptor opened(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  require(static_cast<bool>(opened), ExitCode::kBadInput, "{}: cannot be opened: {}", file.string(), error_text(errno));
  return std::make_unique<SystemFile>(file.string(), std::move(opened), LOCK_SH);
}

}  // namespace unmask::launcher
