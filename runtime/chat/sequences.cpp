// SPDX-License-Identifier: Apache-2.0
// Lengths, iteration and slices: the part of operations.h that is about sequences.
#include <algorithm>
#include <limits>

#include "runtime/chat/operations.h"
#include "runtime/chat/unicode.h"

namespace unmask::runtime::chat {
namespace {

using Int = std::int64_t;

/// The positions of a slice in a sequence of `count` items, as PySlice_AdjustIndices computes them.
struct Positions {
  Int start;
  Int step;
  Int count;
};

Int clamp_index(Int index, Int count, Int lowest, Int highest) {
  if (index < 0) {
    index = index < -count ? lowest : index + count;
  }
  return std::clamp(index, lowest, highest);
}

Positions resolve(const Slice& slice, Int count) {
  const Int step = std::max(slice.step.value_or(1), -std::numeric_limits<Int>::max());
  if (step == 0) {
    throw TemplateError("a slice's step is zero");
  }
  if (step > 0) {
    const Int start = slice.start ? clamp_index(*slice.start, count, 0, count) : 0;
    const Int stop = slice.stop ? clamp_index(*slice.stop, count, 0, count) : count;
    return {start, step, stop > start ? (stop - start - 1) / step + 1 : 0};
  }
  const Int start = slice.start ? clamp_index(*slice.start, count, -1, count - 1) : count - 1;
  const Int stop = slice.stop ? clamp_index(*slice.stop, count, -1, count - 1) : -1;
  return {start, step, start > stop ? (start - stop - 1) / -step + 1 : 0};
}

Text slice_text(const Text& text, const Slice& wanted, Meter& meter) {
  meter.bytes(text.size());
  const Positions at = resolve(wanted, static_cast<Int>(num_code_points(text.bytes())));
  if (at.step == 1 || at.count <= 1) {
    const std::size_t begin = offset_of(text.bytes(), static_cast<std::size_t>(std::max<Int>(at.start, 0)));
    const std::size_t bytes = offset_of(text.bytes().substr(begin), static_cast<std::size_t>(at.count));
    return text.slice(begin, begin + bytes);
  }
  meter.work(text.size());
  std::vector<std::pair<char32_t, Origin>> points;
  for (TextReader reader(text); !reader.done();) {
    const char32_t c = reader.next();
    points.emplace_back(c, reader.origin());
  }
  TextBuilder builder(meter);
  for (Int i = 0; i < at.count; ++i) {
    const auto& [c, origin] = points[static_cast<std::size_t>(at.start + i * at.step)];
    builder.append(c, origin);
  }
  return builder.finish();
}

bool is_indexable(const List& list) {
  return list.kind == ListKind::kList || list.kind == ListKind::kTuple || list.kind == ListKind::kRange;
}

}  // namespace

std::vector<Value> characters(const Text& text, Meter& meter) {
  std::vector<Value> items;
  meter.work(num_code_points(text.bytes()));
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t next = at + code_point_at(text.bytes(), at).bytes;
    items.emplace_back(text.slice(at, next));
    at = next;
  }
  return items;
}

std::vector<Value> iterate(const Value& value, Meter& meter) {
  if (value.is(Kind::kUndefined)) {
    return {};
  }
  if (value.is(Kind::kString)) {
    return characters(value.text(), meter);
  }
  if (value.is(Kind::kDict)) {
    std::vector<Value> keys;
    meter.work(value.dict().items.size());
    for (const auto& item : value.dict().items) {
      keys.push_back(item.first);
    }
    return keys;
  }
  if (!value.is(Kind::kList)) {
    throw TemplateError("a " + type_name(value) + " cannot be iterated");
  }
  const List& list = value.list();
  meter.work(list.items.size());
  const auto first = list.items.begin() + static_cast<std::ptrdiff_t>(list.next);
  if (list.kind == ListKind::kIterator) {
    list.next = list.items.size();
  }
  return {first, list.items.end()};
}

std::int64_t length(const Value& value, Meter& meter) {
  if (value.is(Kind::kUndefined)) {
    return 0;
  }
  if (value.is(Kind::kString)) {
    meter.bytes(value.text().size());
    return static_cast<Int>(num_code_points(value.text().bytes()));
  }
  if (value.is(Kind::kDict)) {
    return static_cast<Int>(value.dict().items.size());
  }
  if (const auto* loop = value.get_if<std::shared_ptr<Loop>>()) {
    return (*loop)->num_items();
  }
  if (value.is(Kind::kList) && value.list().kind != ListKind::kIterator) {
    return static_cast<Int>(value.list().items.size());
  }
  throw TemplateError("a " + type_name(value) + " has no length");
}

std::optional<Value> slice(const Value& value, const Slice& wanted, Meter& meter) {
  if (value.is(Kind::kString)) {
    return slice_text(value.text(), wanted, meter);
  }
  if (!value.is(Kind::kList) || !is_indexable(value.list())) {
    return std::nullopt;
  }
  const List& list = value.list();
  if (list.kind == ListKind::kRange) {
    throw TemplateError("a slice of a range is not supported (put |list before it)");
  }
  const Positions at = resolve(wanted, static_cast<Int>(list.items.size()));
  std::vector<Value> items;
  meter.work(static_cast<std::uint64_t>(at.count));
  for (Int i = 0; i < at.count; ++i) {
    items.push_back(list.items[static_cast<std::size_t>(at.start + i * at.step)]);
  }
  return make_list(std::move(items), list.kind, meter);
}

std::optional<Value> item_at(const Value& value, std::int64_t index, Meter& meter) {
  if (value.is(Kind::kString)) {
    const Int count = length(value, meter);
    if (index < -count || index >= count) {
      return std::nullopt;
    }
    const std::size_t begin = offset_of(value.text().bytes(), static_cast<std::size_t>(index < 0 ? index + count : index));
    return value.text().slice(begin, begin + code_point_at(value.text().bytes(), begin).bytes);
  }
  if (!value.is(Kind::kList) || !is_indexable(value.list())) {
    return std::nullopt;
  }
  const Int count = static_cast<Int>(value.list().items.size());
  if (index < -count || index >= count) {
    return std::nullopt;
  }
  return value.list().items[static_cast<std::size_t>(index < 0 ? index + count : index)];
}

Text repeat(const Text& text, std::int64_t count, Meter& meter) {
  TextBuilder builder(meter);
  if (count > 0 && !text.empty()) {
    constexpr Int kMany = Int{1} << 32;  // beyond any limit on text, and the product below cannot overflow
    meter.check_size(text.size() * static_cast<std::size_t>(std::min(count, kMany)));
    meter.work(static_cast<std::uint64_t>(count));
    for (Int i = 0; i < count; ++i) {
      builder.append(text);
    }
  }
  return builder.finish();
}

}  // namespace unmask::runtime::chat
