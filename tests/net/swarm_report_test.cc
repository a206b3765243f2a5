#include "net/swarm_report.h"

#include <catch2/catch.hpp>

using namespace p2p;
using namespace p2p::net;
using namespace std::chrono_literals;

TEST_CASE("columns say how much of each run of chunks is there") {
  Bitfield few(3, false);
  few.set(1);
  CHECK(columns_of(few) == Bytes{0, 255, 0});
  CHECK(columns_of(Bitfield(0, false)).empty());

  Bitfield many(640, false);
  for (ChunkIndex i = 0; i < 15; ++i) many.set(i);
  const Bytes columns = columns_of(many);
  REQUIRE(columns.size() == 64);
  CHECK(columns[0] == 255);
  CHECK(columns[1] == 127);
  CHECK(columns[2] == 0);
}

TEST_CASE("a column is full where all of its chunks are there, and nowhere else") {
  for (const ChunkIndex chunks : {1u, 63u, 64u, 65u, 1000u, kMaxChunks}) {
    Bitfield have(chunks, true);
    const Bytes full = columns_of(have);
    CHECK(full == Bytes(tracker::column_count(chunks), 255));
    have.reset(chunks - 1);
    CHECK(columns_of(have).back() < 255);
  }
}

TEST_CASE("rates are those since the report before, and the same for two who ask at once") {
  SwarmReport report;
  const Bitfield have(4, false);
  const Time start = Time{} + 1h;
  CHECK(report.make(have, 100, 5000, 7000, start).down_rate == 0);
  CHECK(report.make(have, 100, 6000, 7400, start + 2s).down_rate == 500);
  const auto again = report.make(have, 100, 6001, 7400, start + 2s + 1ms);
  CHECK(again.down_rate == 500);
  CHECK(again.up_rate == 200);
}

TEST_CASE("after a long time in which nobody asked there is no rate, rather than an old one") {
  SwarmReport report;
  const Bitfield have(4, false);
  report.make(have, 100, 0, 0, Time{} + 1h);
  CHECK(report.make(have, 100, 2000, 0, Time{} + 1h + 2s).down_rate == 1000);
  CHECK(report.make(have, 100, 1'000'000, 0, Time{} + 2h).down_rate == 0);
}
