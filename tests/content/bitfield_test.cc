#include "content/bitfield.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "base/random.h"

using namespace p2p;

namespace {

// The bit field anybody would write, to compare with.
using Model = std::vector<bool>;

ChunkIndex next_in(const Model& model, ChunkIndex from, bool value) {
  for (ChunkIndex i = from; i < model.size(); ++i)
    if (model[i] == value) return i;
  return static_cast<ChunkIndex>(model.size());
}

// Sizes about the edges of bytes and words.
ChunkIndex some_size(Random& random) {
  const auto edge = static_cast<ChunkIndex>(8 * random.below(40));
  return edge + static_cast<ChunkIndex>(random.below(3));
}

// A field and its model with the same random bits, dense or sparse.
std::pair<Bitfield, Model> some_field(Random& random, ChunkIndex size) {
  Bitfield field(size);
  Model model(size);
  const double density = random.unit();
  for (ChunkIndex i = 0; i < size; ++i) {
    if (!random.chance(density)) continue;
    field.set(i);
    model[i] = true;
  }
  return {field, model};
}

}  // namespace

TEST_CASE("an empty bit field has all of nothing") {
  const Bitfield field;
  CHECK(field.size() == 0);
  CHECK(field.all());
  CHECK(field.none());
  CHECK(field.next_set(0) == 0);
  CHECK(field.next_clear(0) == 0);
  CHECK(field.to_wire().empty());
  CHECK(Bitfield::from_wire({}, 0) == field);
  CHECK_FALSE(field.has_any_not_in(field));
}

TEST_CASE("a bit field agrees with a vector of bool through any changes") {
  const std::uint64_t seed = 41;
  CAPTURE(seed);
  Random random(seed);
  for (int round = 0; round < 100; ++round) {
    const ChunkIndex size = 1 + some_size(random);
    CAPTURE(round, size);
    const bool start = random.chance(0.5);
    Bitfield field(size, start);
    Model model(size, start);
    for (int step = 0; step < 300; ++step) {
      const auto index = static_cast<ChunkIndex>(random.below(size));
      const bool value = random.chance(0.5);
      const bool changed = value ? field.set(index) : field.reset(index);
      REQUIRE(changed == (model[index] != value));
      model[index] = value;
      REQUIRE(field.test(index) == value);
      const auto count = std::count(model.begin(), model.end(), true);
      REQUIRE(field.count() == count);
      REQUIRE(field.all() == (count == size));
      REQUIRE(field.none() == (count == 0));
    }
    for (ChunkIndex i = 0; i < size; ++i) REQUIRE(field.test(i) == model[i]);
  }
}

TEST_CASE("the next set and clear bits are those a walk finds") {
  const std::uint64_t seed = 42;
  CAPTURE(seed);
  Random random(seed);
  for (int round = 0; round < 100; ++round) {
    const ChunkIndex size = some_size(random);
    CAPTURE(round, size);
    const auto [field, model] = some_field(random, size);
    const auto [other, other_model] = some_field(random, size);
    Model missing = model;
    for (ChunkIndex i = 0; i < size; ++i) missing[i] = model[i] && !other_model[i];
    for (ChunkIndex from = 0; from <= size; ++from) {
      REQUIRE(field.next_set(from) == next_in(model, from, true));
      REQUIRE(field.next_clear(from) == next_in(model, from, false));
      REQUIRE(field.next_set_not_in(other, from) == next_in(missing, from, true));
    }
    REQUIRE(field.has_any_not_in(other) == (next_in(missing, 0, true) != size));
    REQUIRE(field.next_set(size + 1000) == size);
  }
}

TEST_CASE("a bit field comes back from the wire, where bit 0 is the highest") {
  const std::uint64_t seed = 43;
  CAPTURE(seed);
  Random random(seed);
  for (int round = 0; round < 200; ++round) {
    const ChunkIndex size = some_size(random);
    CAPTURE(round, size);
    const auto [field, model] = some_field(random, size);
    const Bytes wire = field.to_wire();
    REQUIRE(wire.size() == Bitfield::wire_bytes(size));
    for (ChunkIndex i = 0; i < size; ++i)
      REQUIRE(((wire[i / 8] >> (7 - i % 8)) & 1) == (model[i] ? 1 : 0));
    const auto back = Bitfield::from_wire(wire, size);
    REQUIRE(back.has_value());
    REQUIRE(*back == field);
    REQUIRE(back->count() == field.count());
  }
}

TEST_CASE("a full bit field is the same whether it was made or filled") {
  for (ChunkIndex size = 0; size < 200; ++size) {
    Bitfield filled(size);
    for (ChunkIndex i = 0; i < size; ++i) filled.set(i);
    REQUIRE(filled == Bitfield(size, true));
    REQUIRE(filled.all());
    for (ChunkIndex i = 0; i < size; ++i) filled.reset(i);
    REQUIRE(filled == Bitfield(size));
  }
}

TEST_CASE("a bit field that is a byte off, or has a spare bit set, is refused") {
  for (ChunkIndex size = 0; size < 150; ++size) {
    CAPTURE(size);
    const Bytes wire = Bitfield(size, true).to_wire();
    Bytes longer = wire;
    longer.push_back(0);
    CHECK_FALSE(Bitfield::from_wire(longer, size).has_value());
    if (wire.empty()) continue;
    CHECK_FALSE(Bitfield::from_wire(ByteView(wire).first(wire.size() - 1), size).has_value());
    for (ChunkIndex spare = size; spare % 8 != 0; ++spare) {
      Bytes changed = wire;
      changed.back() |= static_cast<std::uint8_t>(0x80 >> (spare % 8));
      CHECK_FALSE(Bitfield::from_wire(changed, size).has_value());
    }
  }
}
