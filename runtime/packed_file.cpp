// SPDX-License-Identifier: Apache-2.0
#include "runtime/packed_file.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/checksum.h"
#include "base/error.h"

namespace unmask::runtime {

PackedStart PackedStart::parse(std::span<const std::byte> bytes, std::uint64_t file_bytes, std::string_view file) {
  const bool is_packed = bytes.size() >= kPackedHeaderBegin && std::memcmp(bytes.data(), kPackedMagic.data(), kPackedMagic.size()) == 0;
  require(is_packed, ExitCode::kBadInput,
          "{}: expected a model folder or a file written by 'unmask pack', found another file: give the folder that holds config.json",
          file);
  std::array<std::uint64_t, 3> words{};  // version, bytes, checksum
  std::memcpy(words.data(), bytes.data() + kPackedMagic.size(), sizeof words);
  require(words[0] == kPackedVersion, ExitCode::kBadInput,
          "{}: packed in version {} of the form, expected version {}: pack the checkpoint again with this program", file, words[0],
          kPackedVersion);
  require(words[1] <= kMaxPackedHeaderBytes && kPackedHeaderBegin + words[1] <= file_bytes, ExitCode::kBadInput,
          "{}: the header has {} bytes, but the file has {}: it was cut off or is damaged; copy it again", file, words[1], file_bytes);
  return {.header_bytes = words[1], .checksum = words[2]};
}

PackedFile::PackedFile(const std::filesystem::path& path) : file_(path) {
  const std::string name = path.string();
  std::array<std::byte, kPackedHeaderBegin> first{};
  file_.read(0, std::span(first).first(std::min<std::uint64_t>(first.size(), file_.num_bytes())));
  const PackedStart start = PackedStart::parse(first, file_.num_bytes(), name);
  std::string text(start.header_bytes, '\0');
  file_.read(kPackedHeaderBegin, std::as_writable_bytes(std::span(text)));
  header_checksum_ = checksum(std::as_bytes(std::span(text)));
  require(header_checksum_ == start.checksum, ExitCode::kBadInput,
          "{}: the header's checksum is {:016x}, expected {:016x}: the file is damaged; copy it again", name, header_checksum_,
          start.checksum);
  data_begin_ = start.data_begin();
  require(data_begin_ <= file_.num_bytes(), ExitCode::kBadInput, "{}: data begins at byte {}, but the file has {}: it was cut off; copy it again",
          name, data_begin_, file_.num_bytes());
  header_ = parse_packed_header(text, file_.num_bytes() - data_begin_, name);
}

bool PackedFile::is_one(const std::filesystem::path& path) {
  try {
    const InputFile file(path);
    std::array<std::byte, kPackedMagic.size()> first{};
    if (file.num_bytes() < first.size()) {
      return false;
    }
    file.read(0, first);
    return std::memcmp(first.data(), kPackedMagic.data(), first.size()) == 0;
  } catch (const Error&) {
    return false;
  }
}

const PackedEntry* PackedFile::find(std::string_view name) const {
  const auto found = header_.entries.find(name);
  return found == header_.entries.end() ? nullptr : &found->second;
}

/// The header holds the checksums of all data.
std::string PackedFile::fingerprint() const { return format("packed-{:016x}-{}", header_checksum_, file_.num_bytes()); }

void PackedFile::read_block(std::string_view name, const PackedEntry& entry, std::uint64_t block, std::span<std::byte> into) const {
  const std::uint64_t begin = data_begin_ + entry.begin + block * entry.block_bytes;
  UNMASK_CHECK(into.size() == entry.bytes_of_block(block), "{} bytes for block {} of {}", into.size(), block, name);
  file_.read(begin, into);
  const std::uint64_t found = checksum(into);
  require(found == entry.checksums[block], ExitCode::kBadInput,
          "{}: {}, bytes {} to {} of the file: the checksum is {:016x}, expected {:016x}: the file is damaged; copy it again, or pack again",
          file_.path().string(), name, begin, begin + into.size(), found, entry.checksums[block]);
}

}  // namespace unmask::runtime
