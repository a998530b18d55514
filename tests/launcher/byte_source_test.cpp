// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <unistd.h>
#include <zstd.h>

#include <atomic>
#include <cstring>
#include <thread>

#include "base/error.h"
#include "launcher/io/byte_source.h"
#include "launcher/io/line_reader.h"

namespace unmask::launcher {
namespace {

/// A text that comes in pieces.
class TextSource : public ByteSource {
 public:
  TextSource(std::string text, std::size_t piece) : text_(std::move(text)), piece_(piece) {}
  std::size_t read(std::span<char> into) override {
    const std::size_t n = std::min({into.size(), piece_, text_.size() - at_});
    std::memcpy(into.data(), text_.data() + at_, n);
    at_ += n;
    return n;
  }

 private:
  std::string text_;
  std::size_t piece_;
  std::size_t at_ = 0;
};

std::string pack(const std::string& text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
  return out;
}

std::string unpack(const std::string& packed, std::size_t piece, std::size_t room = 1 << 16) {
  TextSource source(packed, piece);
  UnpackedSource unpacked(source, "test");
  std::string out, buffer(room, '\0');
  while (const std::size_t n = unpacked.read(buffer)) {
    out.append(buffer, 0, n);
  }
  EXPECT_EQ(unpacked.num_bytes_taken(), packed.size());
  return out;
}

TEST(UnpackedSource, PlainBytesPassAndPackedOnesAreUnpacked) {
  std::string text;
  for (int i = 0; i < 20000; ++i) {
    text += "{\"prompt\": \"" + std::to_string(i * i) + "\"}\n";
  }
  for (const std::size_t piece : {std::size_t{1} << 20, std::size_t{1000}, std::size_t{3}}) {
    EXPECT_EQ(unpack(text, piece), text);
    EXPECT_EQ(unpack(pack(text), piece), text);
    EXPECT_EQ(unpack(pack("a\n") + pack("") + pack(text), piece), "a\n" + text) << "several frames";
  }
  EXPECT_EQ(unpack(pack(text), 1 << 20, 7), text) << "little room";
  EXPECT_EQ(unpack(pack(std::string(50'000'000, 'x')), 1 << 20, 4096).size(), 50'000'000U);
  for (const std::string& short_one : {std::string(), std::string("\x28"), std::string("\x28\xB5\x2F"), std::string("x")}) {
    EXPECT_EQ(unpack(short_one, 1), short_one);
  }
}

TEST(UnpackedSource, BrokenOrCutDataIsAnError) {
  const std::string text(100'000, 'x');
  std::string packed = pack(text + "different" + text);
  for (std::size_t keep = 5; keep < packed.size(); ++keep) {
    EXPECT_THROW(unpack(packed.substr(0, keep), 1 << 20), Error) << keep;
  }
  EXPECT_THROW(unpack(packed + "rubbish behind", 1 << 20), Error);
  packed[packed.size() / 2] = static_cast<char>(packed[packed.size() / 2] ^ 0x7f);
  packed[5] = static_cast<char>(packed[5] ^ 0x7f);
  EXPECT_THROW(unpack(packed, 1 << 20), Error);
}

TEST(DescriptorSource, AWaitCanBeCancelled) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  std::atomic<bool> cancelled = false;
  DescriptorSource source(ends[0], "pipe", [&] { return cancelled.load(); });
  ASSERT_EQ(::write(ends[1], "abc", 3), 3);
  char buffer[8];
  EXPECT_EQ(source.read(buffer), 3U);
  std::thread canceller([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    cancelled = true;
  });
  EXPECT_EQ(source.read(buffer), 0U);
  canceller.join();
  ::close(ends[0]);
  ::close(ends[1]);
}

}  // namespace
}  // namespace unmask::launcher
