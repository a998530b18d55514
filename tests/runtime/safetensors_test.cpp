// SPDX-License-Identifier: Apache-2.0
#include "runtime/safetensors.h"

#include <sys/stat.h>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/runtime/checkpoint_fixture.h"

namespace unmask::runtime {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::refusal;
using testing::safetensors_bytes;
using testing::TempFolder;
using testing::write_file;

/// The message with which a file of these bytes is refused; every message must name the file.
std::string refusal_of(std::string_view bytes) {
  const TempFolder folder;
  write_file(folder / "x.safetensors", bytes);
  const std::string message = refusal([&] { SafetensorsFile file(folder / "x.safetensors"); });
  EXPECT_THAT(message, HasSubstr("x.safetensors"));
  return message;
}
std::string refusal_of(std::string_view header, std::size_t data_bytes) {
  return refusal_of(safetensors_bytes(header, std::string(data_bytes, '\1')));
}

std::string with_length(std::uint64_t length, std::string_view rest) {
  std::string bytes = safetensors_bytes("", rest);
  for (std::size_t i = 0; i < 8; ++i) {
    bytes[i] = static_cast<char>(length >> (8 * i));
  }
  return bytes;
}

TEST(Safetensors, ReadsShapesTypesAndPlaces) {
  const TempFolder folder;
  const std::string header =
      R"({"b":{"dtype":"F32","shape":[2,1],"data_offsets":[6,14]},"a":{"dtype":"BF16","shape":[3],"data_offsets":[0,6]},)"
      R"("none":{"dtype":"I64","shape":[0,7],"data_offsets":[6,6]},"one":{"dtype":"U8","shape":[],"data_offsets":[14,15]},)"
      R"("six":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[15,18]},"__metadata__":{"format":"pt"}}   )";
  write_file(folder / "x.safetensors", safetensors_bytes(header, std::string(18, '\1')));
  const SafetensorsFile file(folder / "x.safetensors");
  const std::uint64_t data = 8 + header.size();
  ASSERT_EQ(file.tensors.size(), 5U);
  EXPECT_EQ(file.tensors.at("b").dtype.name, "F32");
  EXPECT_THAT(file.tensors.at("b").shape, ElementsAre(2, 1));
  EXPECT_EQ(file.tensors.at("b").begin, data + 6);
  EXPECT_EQ(file.tensors.at("b").end, data + 14);
  EXPECT_EQ(file.tensors.at("none").num_bytes(), 0U);
  EXPECT_EQ(file.header, header);
}

TEST(Safetensors, RefusesImpossibleLengths) {
  EXPECT_THAT(refusal_of(""), AllOf(HasSubstr("has 0 bytes"), HasSubstr("at least 8")));
  EXPECT_THAT(refusal_of("1234567"), HasSubstr("has 7 bytes"));
  EXPECT_THAT(refusal_of(with_length(std::uint64_t{1} << 63, "{}")), AllOf(HasSubstr("9223372036854775808"), HasSubstr("at most 100000000")));
  EXPECT_THAT(refusal_of(with_length(~std::uint64_t{0}, "{}")), HasSubstr("18446744073709551615"));
  EXPECT_THAT(refusal_of(with_length(100'000'001, "{}")), HasSubstr("100000001"));
  EXPECT_THAT(refusal_of(with_length(3, "{}")), AllOf(HasSubstr("ends at byte 11"), HasSubstr("has 10 bytes")));
  EXPECT_THAT(refusal_of(with_length(0, "{}")), HasSubstr("does not start with '{'"));
}

TEST(Safetensors, RefusesHeadersThatAreNotCleanJson) {
  EXPECT_THAT(refusal_of(R"( {})", 0), HasSubstr("does not start with '{': found ' '"));
  EXPECT_THAT(refusal_of(R"([])", 0), HasSubstr("found '['"));
  EXPECT_THAT(refusal_of(R"({"a":)", 0), HasSubstr("not valid JSON at byte 6"));
  EXPECT_THAT(refusal_of("{\"\xff\":1}", 0), HasSubstr("not valid JSON"));
  EXPECT_THAT(refusal_of(std::string_view("{}\0", 3), 0), HasSubstr("NUL"));
  EXPECT_THAT(refusal_of(R"({} {})", 0), HasSubstr("not valid JSON"));
  EXPECT_THAT(refusal_of(R"({"a":)" + std::string(100, '['), 0), HasSubstr("nested deeper"));
}

TEST(Safetensors, RefusesDuplicateKeys) {
  const std::string_view a = R"("a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
  EXPECT_THAT(refusal_of(format("{{{},{}}}", a, a), 1), HasSubstr("\"a\" is given twice"));
  EXPECT_THAT(refusal_of(R"({"a":{"dtype":"U8","shape":[1],"shape":[1],"data_offsets":[0,1]}})", 1), HasSubstr("\"shape\" is given twice"));
  EXPECT_THAT(refusal_of(R"({"__metadata__":{"x":"1","x":"1"}})", 0), HasSubstr("\"x\" is given twice"));
}

TEST(Safetensors, RefusesBadMetadata) {
  EXPECT_THAT(refusal_of(R"({"__metadata__":[]})", 0), HasSubstr("__metadata__ is an array of 0, expected an object"));
  EXPECT_THAT(refusal_of(R"({"__metadata__":{"x":1}})", 0), HasSubstr("__metadata__.x is 1, expected a string"));
}

TEST(Safetensors, RefusesMalformedTensors) {
  EXPECT_THAT(refusal_of(R"({"a":3})", 0), HasSubstr("tensor a: expected an object, found 3"));
  EXPECT_THAT(refusal_of(R"({"a":{"shape":[1],"data_offsets":[0,1]}})", 1), HasSubstr("tensor a: dtype is missing"));
  EXPECT_THAT(refusal_of(R"({"a":{"dtype":"U8","data_offsets":[0,1]}})", 1), HasSubstr("tensor a: shape is missing"));
  EXPECT_THAT(refusal_of(R"({"a":{"dtype":"U8","shape":[1]}})", 1), HasSubstr("tensor a: data_offsets is missing"));
  EXPECT_THAT(refusal_of(R"({"a":{"dtype":"BF17","shape":[1],"data_offsets":[0,2]}})", 2), HasSubstr("dtype is \"BF17\""));
  EXPECT_THAT(refusal_of(R"({"a":{"dtype":1,"shape":[1],"data_offsets":[0,2]}})", 2), HasSubstr("dtype is 1"));
  EXPECT_THAT(refusal_of(R"({"a":{"dtype":"U8","shape":1,"data_offsets":[0,1]}})", 1), HasSubstr("shape is 1, expected a list"));
  EXPECT_THAT(refusal_of(R"({"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}})", 1), HasSubstr("shape holds -1"));
  EXPECT_THAT(refusal_of(R"({"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}})", 1), HasSubstr("shape holds 1.0"));
  EXPECT_THAT(refusal_of(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}})", 2), HasSubstr("has 3 numbers, expected 2"));
}

TEST(Safetensors, RefusesSizesThatDoNotFit) {
  EXPECT_THAT(refusal_of(R"({"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,20]}})", 20),
              AllOf(HasSubstr("tensor a: data_offsets spans 20 bytes, expected 24 for [2, 3] of F32")));
  EXPECT_THAT(refusal_of(R"({"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}})", 2), HasSubstr("shape is [3] of F4"));
  // 2^62 * 4 elements wrap around to 0 in 64 bits; so do 2^61 * 8 bits
  EXPECT_THAT(refusal_of(R"({"a":{"dtype":"U8","shape":[4611686018427387904,4],"data_offsets":[0,0]}})", 0), HasSubstr("not a size that can be"));
  EXPECT_THAT(refusal_of(R"({"a":{"dtype":"U8","shape":[2305843009213693952],"data_offsets":[0,0]}})", 0), HasSubstr("not a size that can be"));
  EXPECT_THAT(refusal_of(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 3), HasSubstr("expected begin <= end <= 3"));
  EXPECT_THAT(refusal_of(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}})", 1), HasSubstr("is [1, 0]"));
  EXPECT_THAT(refusal_of(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[18446744073709551615,0]}})", 1), HasSubstr("begin <= end"));
}

TEST(Safetensors, RefusesOverlapsHolesAndLeftovers) {
  const auto two = [](int a_begin, int a_end, int b_begin, int b_end) {
    return format(R"({{"a":{{"dtype":"U8","shape":[{}],"data_offsets":[{},{}]}},"b":{{"dtype":"U8","shape":[{}],"data_offsets":[{},{}]}}}})",
                  a_end - a_begin, a_begin, a_end, b_end - b_begin, b_begin, b_end);
  };
  EXPECT_THAT(refusal_of(two(0, 4, 3, 8), 8), HasSubstr("tensor b begins at data offset 3, expected 4: it overlaps a"));
  EXPECT_THAT(refusal_of(two(0, 4, 5, 8), 8), HasSubstr("tensor b begins at data offset 5, expected 4: it leaves a hole after a"));
  EXPECT_THAT(refusal_of(two(0, 4, 0, 4), 4), HasSubstr("overlaps"));
  EXPECT_THAT(refusal_of(two(1, 4, 4, 8), 8), HasSubstr("tensor a begins at data offset 1, expected 0: it leaves a hole after the header"));
  EXPECT_THAT(refusal_of(two(0, 4, 4, 8), 9), AllOf(HasSubstr("the tensors end at byte"), HasSubstr("but the file has")));
  EXPECT_THAT(refusal_of("{}", 1), HasSubstr("the tensors end at byte 10, but the file has 11 bytes"));
}

TEST(Safetensors, RefusesWhatIsNotARegularFile) {
  const TempFolder folder;
  EXPECT_THAT(refusal([&] { SafetensorsFile file(folder / "absent"); }), AllOf(HasSubstr("absent"), HasSubstr("No such file")));
  EXPECT_THAT(refusal([&] { SafetensorsFile file(folder.path()); }), HasSubstr("expected a regular file"));
  const auto pipe = folder / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_THAT(refusal([&] { SafetensorsFile file(pipe); }), HasSubstr("expected a regular file"));  // and does not wait for a writer
  EXPECT_THAT(refusal([] { SafetensorsFile file("/dev/null"); }), HasSubstr("expected a regular file"));
}

TEST(InputFile, TellsWhenAFileBecameShorter) {
  const TempFolder folder;
  const auto path = folder / "x";
  write_file(path, std::string(100, 'x'));
  const InputFile file(path);
  ASSERT_EQ(truncate(path.c_str(), 60), 0);
  std::string into(50, ' ');
  EXPECT_THAT(refusal([&] { file.read(30, std::as_writable_bytes(std::span(into))); }),
              AllOf(HasSubstr("ends at byte 60"), HasSubstr("expected 20 more bytes"), HasSubstr("had 100")));
}

}  // namespace
}  // namespace unmask::runtime
