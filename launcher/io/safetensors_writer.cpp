// SPDX-License-Identifier: Apache-2.0
#include "launcher/io/safetensors_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace unmask::launcher {
namespace {

void require_io(bool ok, const std::filesystem::path& file, std::string_view what) {
  if (!ok) {
    const int error = errno;
    fail(ExitCode::kIo, "{}: {} failed: {}", file.string(), what, std::strerror(error));
  }
}

std::string header_of(const std::vector<SafetensorsWriter::Tensor>& tensors) {
  std::string header = "{";
  std::uint64_t begin = 0;
  for (const auto& tensor : tensors) {
    header += format("{}\"{}\":{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}", begin == 0 && header == "{" ? "" : ",",
                     tensor.name, tensor.dtype, fmt::join(tensor.shape, ","), begin, begin + tensor.bytes);
    begin += tensor.bytes;
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');  // tensors begin at a multiple of 8 bytes
  return header;
}

std::filesystem::path folder_of(const std::filesystem::path& file) {
  return file.parent_path().empty() ? std::filesystem::path(".") : file.parent_path();
}

/// A device or a pipe: nothing may take its place, it is written to.
bool is_stream(const std::filesystem::path& file) {
  std::error_code ignored;
  const auto status = std::filesystem::status(file, ignored);
  return std::filesystem::exists(status) && !std::filesystem::is_regular_file(status);
}

}  // namespace

void SafetensorsWriter::require_place(const std::filesystem::path& file) {
  std::error_code ignored;
  require(!file.empty() && !std::filesystem::is_directory(file, ignored), ExitCode::kIo,
          "{}: expected the name of a file to write, found {}", file.empty() ? "''" : file.string(),
          file.empty() ? "nothing" : "a folder");
  require_io(::access(is_stream(file) ? file.c_str() : folder_of(file).c_str(), W_OK) == 0, file, "preparing to write");
}

SafetensorsWriter::SafetensorsWriter(std::filesystem::path file, const std::vector<Tensor>& tensors) : file_(std::move(file)) {
  require_place(file_);
  if (is_stream(file_)) {
    descriptor_ = runtime::FileDescriptor(::open(file_.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY));
    require_io(static_cast<bool>(descriptor_), file_, "opening");
  } else {
    temporary_ = file_.string() + format(".{}.tmp", ::getpid());
    descriptor_ = runtime::FileDescriptor(::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
    require_io(static_cast<bool>(descriptor_), file_, "creating a file beside it");
  }
  const std::string header = header_of(tensors);
  const std::uint64_t length = header.size();
  try {
    write(std::as_bytes(std::span(&length, 1)));
    write(std::as_bytes(std::span(header)));
  } catch (...) {
    remove_temporary();
    throw;
  }
  for (const Tensor& tensor : tensors) {
    bytes_left_ += tensor.bytes;
  }
}

SafetensorsWriter::~SafetensorsWriter() { remove_temporary(); }

void SafetensorsWriter::remove_temporary() {
  if (!temporary_.empty()) {
    ::unlink(temporary_.c_str());
    temporary_.clear();
  }
}

void SafetensorsWriter::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(descriptor_.get(), bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) {
      continue;
    }
    require_io(n >= 0, file_, "writing");
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
}

void SafetensorsWriter::append(std::span<const std::byte> bytes) {
  UNMASK_CHECK(bytes.size() <= bytes_left_, "{} bytes more than announced", bytes.size() - bytes_left_);
  bytes_left_ -= bytes.size();
  write(bytes);
}

void SafetensorsWriter::commit() {
  UNMASK_CHECK(bytes_left_ == 0, "{} bytes are missing", bytes_left_);
  if (temporary_.empty()) {
    descriptor_.reset();
    return;
  }
  require_io(::fsync(descriptor_.get()) == 0, file_, "writing to disk");
  descriptor_.reset();
  require_io(::rename(temporary_.c_str(), file_.c_str()) == 0, file_, "renaming");
  temporary_.clear();
  const runtime::FileDescriptor opened(::open(folder_of(file_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (opened) {
    ::fsync(opened.get());  // some file systems cannot; the file itself is on disk
  }
}

}  // namespace unmask::launcher
