// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/input_file.h"

namespace unmask::runtime {

/// The file that `unmask pack` writes (docs/packed.md): tensors in the order and form in which kernels take them, and the files
/// that stand beside a checkpoint's weights.
///
///   "UNMASKPK" | version | bytes of the header | its checksum | header (JSON) | ... data, from the next whole page on
///
/// Data is a row of entries, each from a whole page on: an expert's matrices lie one behind the other. Each block of an entry
/// has a checksum of its own, so that blocks are read and verified side by side.
struct PackedEntry {
  std::string form = {};                      ///< file, f32, rows, panels, int8 or int4
  std::vector<std::uint64_t> shape = {};      ///< of a tensor
  std::uint64_t begin = 0;               ///< byte of the data
  std::uint64_t bytes = 0;
  std::uint64_t block_bytes = 0;         ///< the last block may be shorter
  std::vector<std::uint64_t> checksums = {};  ///< by block

  std::uint64_t num_blocks() const { return block_bytes == 0 ? 0 : bytes / block_bytes + (bytes % block_bytes != 0 ? 1 : 0); }
  std::uint64_t bytes_of_block(std::uint64_t block) const { return std::min(block_bytes, bytes - block * block_bytes); }
};

struct PackedHeader {
  std::string dtype;  ///< of the experts: bf16, int8 or int4
  std::map<std::string, PackedEntry, std::less<>> entries;
};

inline constexpr std::string_view kPackedMagic = "UNMASKPK";
inline constexpr std::uint64_t kPackedVersion = 1;
inline constexpr std::uint64_t kPackedPageBytes = 4096;
inline constexpr std::uint64_t kPackedHeaderBegin = 32;
inline constexpr std::uint64_t kMaxPackedHeaderBytes = 256 << 20;
inline constexpr std::uint64_t kMaxPackedBlockBytes = 64 << 20;

inline std::uint64_t whole_pages(std::uint64_t bytes) { return (bytes + kPackedPageBytes - 1) / kPackedPageBytes * kPackedPageBytes; }

/// The first 32 bytes. `file` is used in messages.
struct PackedStart {
  std::uint64_t header_bytes = 0;
  std::uint64_t checksum = 0;

  /// Throws Error(kBadInput): not such a file, another version, or cut off.
  static PackedStart parse(std::span<const std::byte> bytes, std::uint64_t file_bytes, std::string_view file);
  std::uint64_t data_begin() const { return whole_pages(kPackedHeaderBegin + header_bytes); }
};

/// Throws Error(kBadInput), also where entries do not lie side by side inside the file.
PackedHeader parse_packed_header(std::string_view json, std::uint64_t data_bytes, std::string_view file);

/// The text that parse_packed_header() reads; its length does not hang on the checksums.
std::string packed_header_text(const PackedHeader& header);

/// Such a file, opened, its header read and validated.
class PackedFile {
 public:
  /// Throws Error(kBadInput) or Error(kIo).
  explicit PackedFile(const std::filesystem::path& path);

  /// Whether a file begins like one; false where it cannot be read.
  static bool is_one(const std::filesystem::path& path);

  const InputFile& file() const { return file_; }
  const PackedHeader& header() const { return header_; }
  const PackedEntry* find(std::string_view name) const;
  std::string fingerprint() const;

  /// Reads and verifies a block. Throws Error(kBadInput) where it is damaged.
  void read_block(std::string_view name, const PackedEntry& entry, std::uint64_t block, std::span<std::byte> into) const;

 private:
  InputFile file_;
  std::uint64_t data_begin_ = 0;
  std::uint64_t header_checksum_ = 0;
  PackedHeader header_;
};

}  // namespace unmask::runtime
