// SPDX-License-Identifier: Apache-2.0
#include "launcher/io/byte_source.h"

#include <poll.h>
#include <unistd.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace unmask::launcher {
namespace {

constexpr int kLookUpMs = 50;  ///< how often a wait looks whether it was cancelled
constexpr std::string_view kZstdMagic = "\x28\xB5\x2F\xFD";

}  // namespace

DescriptorSource::DescriptorSource(int descriptor, std::string name, std::function<bool()> is_cancelled)
    : descriptor_(descriptor), name_(std::move(name)), is_cancelled_(std::move(is_cancelled)) {}

/// False: cancelled.
bool DescriptorSource::wait() const {
  pollfd readable{.fd = descriptor_, .events = POLLIN, .revents = 0};
  while (!is_cancelled_()) {
    const int ready = ::poll(&readable, 1, kLookUpMs);
    if (ready > 0 || (ready < 0 && errno != EINTR)) {  // an error shows itself in read()
      return true;
    }
  }
  return false;
}

std::size_t DescriptorSource::read(std::span<char> into) {
  for (;;) {
    if (is_cancelled_ && !wait()) {
      return 0;
    }
    const ssize_t n = ::read(descriptor_, into.data(), into.size());
    if (n >= 0) {
      return static_cast<std::size_t>(n);
    }
    const int error = errno;
    if (error == EAGAIN || error == EWOULDBLOCK) {
      pollfd readable{.fd = descriptor_, .events = POLLIN, .revents = 0};
      ::poll(&readable, 1, kLookUpMs);
    } else {
      require(error == EINTR, ExitCode::kIo, "{} cannot be read: {}", name_, std::strerror(error));
    }
  }
}

struct UnpackedSource::Stream {
  ZSTD_DStream* state = ZSTD_createDStream();
  bool inside_frame = false;
  bool holds_output = false;  ///< the last call filled its room: there may be more without more input

  Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() { ZSTD_freeDStream(state); }
};

UnpackedSource::UnpackedSource(ByteSource& packed, std::string name)
    : packed_(packed), name_(std::move(name)), buffer_(std::size_t{1} << 16) {}
UnpackedSource::~UnpackedSource() = default;

/// More bytes of the packed source behind those not given on; false at its end.
bool UnpackedSource::fill() {
  if (begin_ == end_) {
    begin_ = end_ = 0;
  }
  const std::size_t n = packed_.read(std::span(buffer_).subspan(end_));
  end_ += n;
  num_bytes_taken_ += n;
  return n > 0;
}

void UnpackedSource::look_at_beginning() {
  looked_ = true;
  while (end_ < kZstdMagic.size() && kZstdMagic.starts_with(std::string_view(buffer_.data(), end_)) && fill()) {
  }
  if (std::string_view(buffer_.data(), end_).starts_with(kZstdMagic)) {
    stream_ = std::make_unique<Stream>();
    require(stream_->state != nullptr, ExitCode::kIo, "{}: there is no memory to unpack it", name_);
  }
}

std::size_t UnpackedSource::read(std::span<char> into) {
  if (!looked_) {
    look_at_beginning();
  }
  for (;;) {
    const bool needs_input = begin_ == end_ && !(stream_ && stream_->holds_output);
    if (needs_input && !fill()) {
      require(!stream_ || !stream_->inside_frame, ExitCode::kBadInput,
              "{}: the zstd data ends in the middle of a frame: it was cut, pack it again", name_);
      return 0;
    }
    if (!stream_) {
      const std::size_t n = std::min(into.size(), end_ - begin_);
      std::copy_n(buffer_.data() + begin_, n, into.data());
      begin_ += n;
      return n;
    }
    ZSTD_inBuffer in{.src = buffer_.data() + begin_, .size = end_ - begin_, .pos = 0};
    ZSTD_outBuffer out{.dst = into.data(), .size = into.size(), .pos = 0};
    const std::size_t left = ZSTD_decompressStream(stream_->state, &out, &in);
    require(ZSTD_isError(left) == 0, ExitCode::kBadInput, "{}: broken zstd data: {}", name_, ZSTD_getErrorName(left));
    begin_ += in.pos;
    stream_->inside_frame = left != 0;
    stream_->holds_output = left != 0 && out.pos == out.size;
    if (out.pos > 0) {
      return out.pos;
    }
  }
}

}  // namespace unmask::launcher
