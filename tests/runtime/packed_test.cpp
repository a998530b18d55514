// SPDX-License-Identifier: Apache-2.0
// Packed models: what is loaded from one is what is loaded from the folder, byte for byte; damaged ones are refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/resource.h>

#include <csignal>
#include <cstring>

#include "base/checksum.h"
#include "experts/quantised.h"
#include "runtime/packed_writer.h"
#include "tests/runtime/checkpoint_fixture.h"

namespace unmask::runtime {
namespace {

using cluster::Placement;
using experts::Layout;
using experts::WeightType;
using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::Copy;
using testing::refusal;
using testing::source_path;
using testing::TempFolder;

/// A folder's packed form, in a place that goes with the test.
class Packed {
 public:
  explicit Packed(const std::filesystem::path& folder, WeightType type = WeightType::kBf16, int threads = 3) : path(temp_ / "model.packed") {
    ThreadTeam team(threads);
    bytes = write_packed(Checkpoint(folder), team, {.expert_type = type, .output = path});
  }
  std::string refusal_to_load() const {
    return refusal([this] {
      ThreadTeam team(2);
      const Checkpoint checkpoint(path);
      static_cast<void>(checkpoint.load(Placement::even(checkpoint.config().num_experts, 1), Rank(0), team, {.expert_type = checkpoint.expert_type()}));
    });
  }

 private:
  TempFolder temp_;

 public:
  std::filesystem::path path;
  std::uint64_t bytes = 0;
};

void expect_same(const experts::Matrix& a, const experts::Matrix& b) {
  ASSERT_EQ(a.layout(), b.layout());
  ASSERT_EQ(a.type(), b.type());
  ASSERT_EQ(a.rows(), b.rows());
  ASSERT_EQ(a.cols(), b.cols());
  const std::int64_t bytes = a.layout() == Layout::kPanels ? a.num_panels() * a.panel_size() * 2 : a.bytes();
  ASSERT_EQ(std::memcmp(a.data(), b.data(), size(bytes)), 0) << a.rows() << " x " << a.cols();
}

void expect_same(const ModelWeights& a, const ModelWeights& b) {
  expect_same(a.embedding, b.embedding);
  expect_same(a.head, b.head);
  EXPECT_EQ(a.final_norm, b.final_norm);
  ASSERT_EQ(a.layers.size(), b.layers.size());
  for (std::size_t i = 0; i < a.layers.size(); ++i) {
    const LayerWeights &x = a.layers[i], &y = b.layers[i];
    EXPECT_EQ(x.input_norm, y.input_norm);
    EXPECT_EQ(x.post_attention_norm, y.post_attention_norm);
    EXPECT_EQ(x.q_norm, y.q_norm);
    EXPECT_EQ(x.k_norm, y.k_norm);
    for (auto m : {&LayerWeights::q_proj, &LayerWeights::k_proj, &LayerWeights::v_proj, &LayerWeights::o_proj, &LayerWeights::router}) {
      expect_same(x.*m, y.*m);
    }
    ASSERT_EQ(x.experts.size(), y.experts.size());
    for (std::size_t e = 0; e < x.experts.size(); ++e) {
      for (auto m : {&experts::Expert::gate, &experts::Expert::up, &experts::Expert::down}) {
        expect_same(x.experts[e].*m, y.experts[e].*m);
      }
    }
  }
}

class PackedFolders : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(All, PackedFolders, ::testing::Values("tests/data/plain", "tests/data/uneven", "tests/data/wide", "models/demo"),
                         [](const auto& param) { return std::filesystem::path(param.param).filename().string(); });

TEST_P(PackedFolders, LoadAsTheFolderDoes) {
  const Checkpoint folder(source_path(GetParam()));
  ThreadTeam team(3);
  for (const WeightType stored : {WeightType::kBf16, WeightType::kInt8, WeightType::kInt4}) {
    const Packed packed(folder.files().path(), stored);
    const Checkpoint checkpoint(packed.path);
    EXPECT_EQ(checkpoint.expert_type(), stored);
    EXPECT_EQ(packed.bytes, std::filesystem::file_size(packed.path));
    for (const WeightType type : {WeightType::kBf16, WeightType::kInt8, WeightType::kInt4}) {
      if (stored != WeightType::kBf16 && stored != type) {
        EXPECT_THAT(refusal([&] { checkpoint.require_type(type); }), AllOf(HasSubstr("packed in"), HasSubstr("leave --dtype out")));
        continue;
      }
      for (const Layout layout : {Layout::kRows, Layout::kPanels}) {
        for (const std::int64_t ranks : {1, 3}) {
          SCOPED_TRACE(format("{} as {}, layout {}, {} ranks", experts::name_of(stored), experts::name_of(type), static_cast<int>(layout), ranks));
          const Placement placement = Placement::even(folder.config().num_experts, ranks);
          const LoadOptions how{.layout = layout, .expert_type = type};
          const auto from_folder = folder.load(placement, Rank(ranks - 1), team, how);
          const auto from_packed = checkpoint.load(placement, Rank(ranks - 1), team, how);
          expect_same(from_packed.weights, from_folder.weights);
          if (ranks == 1) {
            EXPECT_EQ(from_packed.bytes_read, checkpoint.tensor_bytes());
          } else {
            EXPECT_LT(from_packed.bytes_read, checkpoint.tensor_bytes());
          }
        }
      }
    }
  }
}

TEST(Packed, IsTheSameForAnyNumberOfThreadsAndForms) {
  Copy copy("tests/data/uneven");
  for (auto& [name, tensor] : copy.tensors) {
    tensor = testing::stored_as(tensor, "F32");
  }
  copy.write();
  const std::string one = testing::read_file(Packed(source_path("tests/data/uneven"), WeightType::kInt8, 1).path);
  EXPECT_EQ(testing::read_file(Packed(source_path("tests/data/uneven"), WeightType::kInt8, 4).path), one);
  EXPECT_EQ(testing::read_file(Packed(copy.folder.path(), WeightType::kInt8, 2).path), one);
}

/// Where this fails, the order of panels or quantised numbers has changed: packed models of old are then wrong. Raise kPackedVersion,
/// then put the new sums here.
TEST(Packed, TheFormIsThatOfItsVersion) {
  EXPECT_EQ(kPackedVersion, 1U);
  std::vector<bfloat16> rows(size(20 * 70));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    rows[i] = to_bfloat16(static_cast<float>(i * 2654435761U % 2000) / 1000.0F - 1.0F);
  }
  experts::Matrix panels = experts::Matrix::in_panels(20, 70), int8(20, 70, WeightType::kInt8), int4(20, 70, WeightType::kInt4);
  for (std::int64_t p = 0; p < 2; ++p) {
    experts::pack_panel(rows.data() + p * 16 * 70, p == 0 ? 16 : 4, 70, panels.panel(p));
    experts::quantise_panel(rows.data() + p * 16 * 70, p, int8);
    experts::quantise_panel(rows.data() + p * 16 * 70, p, int4);
  }
  const auto sum = [](const void* data, std::int64_t bytes) { return checksum({static_cast<const std::byte*>(data), size(bytes)}); };
  EXPECT_EQ(sum(panels.panel(0), 2 * panels.panel_size() * 2), 6217761213192415335U);
  EXPECT_EQ(sum(int8.quantised_panel(0), int8.bytes()), 12517139847602708304U);
  EXPECT_EQ(sum(int4.quantised_panel(0), int4.bytes()), 5192898360712650421U);
}

TEST(Packed, SidesAreReadFromTheFile) {
  const Packed packed(source_path("models/demo"));
  const ModelFiles files(packed.path), folder(source_path("models/demo"));
  for (const char* name : {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"}) {
    ASSERT_TRUE(files.has(name));
    EXPECT_EQ(files.read(name, 1 << 26), folder.read(name, 1 << 26));
  }
  EXPECT_FALSE(files.has("chat_template.jinja"));
  EXPECT_FALSE(files.has("model.norm.weight")) << "a tensor, not a file";
  EXPECT_THAT(refusal([&] { static_cast<void>(files.read("merges.txt", 100)); }), HasSubstr("merges.txt is not in this packed model"));
  EXPECT_THAT(refusal([&] { static_cast<void>(files.read("tokenizer.json", 100)); }), HasSubstr("at most 100"));
}

TEST(Packed, EveryCutAndEveryFlippedByteIsRefused) {
  const Packed packed(source_path("tests/data/plain"), WeightType::kInt8);
  const std::string whole = testing::read_file(packed.path);
  for (const std::size_t length : {std::size_t{0}, std::size_t{7}, std::size_t{31}, std::size_t{40}, whole.size() / 2, whole.size() - 1}) {
    testing::write_file(packed.path, whole.substr(0, length));
    EXPECT_THAT(packed.refusal_to_load(), HasSubstr("model.packed")) << length;
  }
  testing::write_file(packed.path, whole + "x");
  EXPECT_THAT(packed.refusal_to_load(), HasSubstr("made longer"));
  const Checkpoint checkpoint(Packed(source_path("tests/data/plain"), WeightType::kInt8).path);
  std::vector<std::size_t> places;
  for (std::size_t at = 0; at < 40; ++at) {
    places.push_back(at);
  }
  const std::uint64_t data_begin = whole.size() - [&] {
    std::uint64_t end = 0;
    for (const auto& [name, entry] : checkpoint.files().packed()->header().entries) {
      end = std::max(end, entry.begin + entry.bytes);
    }
    return end;
  }();
  for (const auto& [name, entry] : checkpoint.files().packed()->header().entries) {  // the last byte of every entry
    if (entry.form != "file" || name == "config.json") {
      places.push_back(data_begin + entry.begin + entry.bytes - 1);
    }
  }
  ASSERT_GT(places.size(), 60U);
  for (const std::size_t at : places) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 4);
    testing::write_file(packed.path, damaged);
    EXPECT_THAT(packed.refusal_to_load(), HasSubstr("model.packed")) << "byte " << at;
  }
}

/// The file as its writer did not mean it, with checksums that fit.
class Forged {
 public:
  explicit Forged(WeightType type) : packed_(source_path("tests/data/plain"), type), bytes_(testing::read_file(packed_.path)) {
    std::uint64_t words[3];
    std::memcpy(words, bytes_.data() + 8, sizeof words);
    text_ = bytes_.substr(kPackedHeaderBegin, words[1]);
    data_ = bytes_.substr(whole_pages(kPackedHeaderBegin + words[1]));
    header = parse_packed_header(text_, data_.size(), "F");
  }
  PackedHeader header;

  void put(const std::string& tensor, std::uint64_t at, std::string_view bytes) {
    PackedEntry& entry = header.entries.at(tensor);
    data_.replace(entry.begin + at, bytes.size(), bytes);
    const std::uint64_t block = at / entry.block_bytes;
    const auto of_block = std::string_view(data_).substr(entry.begin + block * entry.block_bytes, entry.bytes_of_block(block));
    entry.checksums[block] = checksum(std::as_bytes(std::span(of_block)));
  }
  std::string refusal() {
    const std::string text = packed_header_text(header);
    const std::uint64_t words[3] = {kPackedVersion, text.size(), checksum(std::as_bytes(std::span(text)))};
    std::string file(kPackedMagic);
    file.append(reinterpret_cast<const char*>(words), sizeof words).append(text);
    file.resize(whole_pages(file.size()));
    testing::write_file(packed_.path, file + data_);
    return packed_.refusal_to_load();
  }

 private:
  Packed packed_;
  std::string bytes_, text_, data_;
};

TEST(Packed, RefusesWhatItsWriterNeverWrites) {
  const std::string gate = "model.layers.0.mlp.experts.1.gate_proj.weight";
  const auto refusal_after = [](WeightType type, const std::function<void(Forged&)>& change) {
    Forged forged(type);
    change(forged);
    return forged.refusal();
  };
  EXPECT_THAT(refusal_after(WeightType::kBf16, [&](Forged& f) { f.put(gate, 2, "\xff\x7f"); }), HasSubstr("gate_proj.weight, block 0: expected finite numbers"));
  EXPECT_THAT(refusal_after(WeightType::kInt8, [&](Forged& f) { f.put(gate, 0, "\xff\x7f"); }), HasSubstr("scales as quantising makes them"));
  EXPECT_THAT(refusal_after(WeightType::kBf16, [](Forged& f) { f.put("model.norm.weight", 4, std::string("\0\0\x80\x7f", 4)); }), HasSubstr("finite"));
  EXPECT_THAT(refusal_after(WeightType::kInt8, [](Forged& f) { f.header.dtype = "bf16"; }), HasSubstr("is int8 of shape [64, 64], expected panels"));
  EXPECT_THAT(refusal_after(WeightType::kBf16, [](Forged& f) { f.header.dtype = "int4"; }), HasSubstr("is panels of shape [64, 64], expected int4"));
  EXPECT_THAT(refusal_after(WeightType::kBf16, [&](Forged& f) { f.header.entries.at(gate).shape = {128, 32}; }), HasSubstr("shape [128, 32], expected"));
  EXPECT_THAT(refusal_after(WeightType::kBf16, [&](Forged& f) { f.header.entries.at(gate).block_bytes += 2; }), HasSubstr("in blocks of"));
  EXPECT_THAT(refusal_after(WeightType::kBf16, [&](Forged& f) { f.header.entries.at(gate).form = "file"; }), HasSubstr("is file of shape"));
  EXPECT_THAT(refusal_after(WeightType::kBf16, [&](Forged& f) { f.header.entries["more"] = f.header.entries.extract(gate).mapped(); }),
              HasSubstr("experts.1.gate_proj.weight is missing"));
}

TEST(Packed, IsNotPackedAgainNorWrittenToADevice) {
  const Packed packed(source_path("tests/data/plain"));
  ThreadTeam team(1);
  const TempFolder out;
  EXPECT_THAT(refusal([&] { write_packed(Checkpoint(packed.path), team, {.output = out / "again"}); }), HasSubstr("packed already"));
  EXPECT_FALSE(std::filesystem::exists(out / "again"));
  EXPECT_THROW(write_packed(Checkpoint(source_path("tests/data/plain")), team, {.output = "/dev/null"}), Error);
  Copy copy("tests/data/plain");
  copy.tensors["lm_head.weight"].bytes.replace(2, 2, "\xff\x7f");
  copy.write();
  EXPECT_THAT(refusal([&] { write_packed(Checkpoint(copy.folder.path()), team, {.output = out / "nan"}); }), HasSubstr("lm_head.weight, element 1 is"));
  EXPECT_TRUE(std::filesystem::is_empty(out.path())) << "nothing is left";
}

/// A file that must not grow further is a disk without room.
class NoRoom {
 public:
  explicit NoRoom(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit tight{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &tight);
  }
  ~NoRoom() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_{};
  void (*handler_)(int);
};

TEST(Packed, NothingIsLeftWhereThereIsNoRoom) {
  const TempFolder out;
  ThreadTeam team(2);
  const Checkpoint checkpoint(source_path("tests/data/plain"));
  try {
    const NoRoom limit(100'000);
    write_packed(checkpoint, team, {.output = out / "model"});
    ADD_FAILURE() << "it was written";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kIo);
    EXPECT_THAT(error.what(), HasSubstr("there is no room for its"));
  }
  EXPECT_TRUE(std::filesystem::is_empty(out.path()));
}

}  // namespace
}  // namespace unmask::runtime
