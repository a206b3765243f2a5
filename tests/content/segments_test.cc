// Where contents are cut, what survives a move, and outlines from outside.
#include "content/segments.h"

#include <catch2/catch.hpp>
#include <numeric>

#include "content/outline.h"
#include "tests/content/disk_support.h"
#include "tests/content/memory_content.h"

using namespace p2p;
using namespace p2p::test;

namespace {

Outline outline_of(const MemoryContent& content, unsigned threads = 1) {
  HashJob job;
  job.threads = threads;
  auto outline = make_outline(content.layout(), content, job);
  REQUIRE(outline.has_value());
  return *std::move(outline);
}

std::vector<Segment> all_segments(const MemoryContent& content) {
  const Outline outline = outline_of(content);
  std::vector<Segment> all;
  for (std::size_t i = 0; i < outline.groups.size(); ++i) {
    const auto segments =
        segments_of(content.bytes().subspan(outline.starts[i], outline.groups[i].bytes));
    all.insert(all.end(), segments.begin(), segments.end());
  }
  return all;
}

std::size_t count_new(const std::vector<Segment>& of, const std::vector<Segment>& beside) {
  std::size_t count = 0;
  for (const Segment& segment : of)
    count += std::find(beside.begin(), beside.end(), segment) == beside.end();
  return count;
}

}  // namespace

TEST_CASE("segments and groups keep to their limits, and cover the content") {
  const MemoryContent content(random_text(3'000'000, 1));
  const Outline outline = outline_of(content);
  std::uint64_t end = 0;
  for (std::size_t i = 0; i < outline.groups.size(); ++i) {
    CHECK(outline.starts[i] == end);
    end = outline.end_of(i);
    CHECK(outline.groups[i].bytes <= kMaxGroupBytes);
    const auto segments =
        segments_of(content.bytes().subspan(outline.starts[i], outline.groups[i].bytes));
    CHECK(segments.size() <= kMaxSegmentsInGroup);
    std::uint64_t bytes = 0;
    for (const Segment& segment : segments) {
      bytes += segment.bytes;
      CHECK(segment.bytes <= kMaxSegmentBytes);
      CHECK((segment.bytes >= kMinSegmentBytes || end == content.bytes().size()));
    }
    CHECK(bytes == outline.groups[i].bytes);
  }
  CHECK(end == content.bytes().size());
  const std::size_t count = all_segments(content).size();
  CHECK(count > 3'000'000 / 1600);
  CHECK(count < 3'000'000 / 1000);
}

TEST_CASE("the longest segments and groups, of bytes that are all alike, keep to the limits too") {
  const MemoryContent content(std::string(2'000'000, '\0'));
  for (const Segment& group : outline_of(content).groups) CHECK(group.bytes <= kMaxGroupBytes);
  for (const Segment& segment : all_segments(content)) CHECK(segment.bytes <= kMaxSegmentBytes);
}

TEST_CASE("an odd number of bytes put in front, in the middle and taken out changes few segments") {
  const std::string text = random_text(2'000'000, 2);
  std::string changed = "new" + text;
  changed.insert(700'000, "seven..");
  changed.erase(1'500'000, 33);
  const auto before = all_segments(MemoryContent(text));
  const auto after = all_segments(MemoryContent(changed));
  CHECK(count_new(after, before) <= 8);
}

TEST_CASE("an outline is the same however many threads make it, over the strips too") {
  const MemoryContent content(random_text(kStripBytes + 1'000'000, 3));
  const Outline one = outline_of(content, 1), three = outline_of(content, 3);
  CHECK(one.groups == three.groups);
  CHECK(std::find(one.starts.begin(), one.starts.end(), kStripBytes) != one.starts.end());
}

TEST_CASE("a content without bytes has an outline without groups") {
  CHECK(outline_of(MemoryContent("")).groups.empty());
  CHECK(decode_outline({}, 0).has_value());
}

TEST_CASE("an outline survives its encoding, and nothing else is taken for one") {
  const MemoryContent content(random_text(500'000, 4));
  const Outline outline = outline_of(content);
  const Bytes encoded = encode_outline(outline);
  CHECK(encoded.size() == outline.groups.size() * kGroupRecordBytes);
  const auto decoded = decode_outline(encoded, 500'000);
  REQUIRE(decoded.has_value());
  CHECK(decoded->groups == outline.groups);
  const auto refused = [](ByteView bytes, std::uint64_t total) {
    const auto result = decode_outline(bytes, total);
    return !result && result.error().code == ErrorCode::kMalformed;
  };
  CHECK(refused(encoded, 499'999));
  CHECK(refused(encoded, 500'001));
  CHECK(refused(ByteView(encoded).first(encoded.size() - 1), 500'000));
  CHECK(refused(ByteView(encoded).first(encoded.size() - kGroupRecordBytes), 500'000));
  Bytes empty_group(kGroupRecordBytes);
  CHECK(refused(empty_group, 0));
  Bytes long_group(kGroupRecordBytes);
  put_u32(long_group.data(), (kMaxGroupBytes + 1) << 8);
  CHECK(refused(long_group, kMaxGroupBytes + 1));
}

TEST_CASE("a detail survives its encoding, and segments that miss the ends of groups do not") {
  const MemoryContent content(random_text(500'000, 5));
  const Outline outline = outline_of(content);
  REQUIRE(outline.groups.size() > 4);
  const auto detail = make_detail(outline, 1, 3, content.layout(), content);
  REQUIRE(detail.has_value());
  const auto segments = decode_detail(*detail, outline, 1, 3);
  REQUIRE(segments.has_value());
  std::vector<Segment> own;
  for (std::size_t i = 1; i < 4; ++i)
    for (const Segment& segment :
         segments_of(content.bytes().subspan(outline.starts[i], outline.groups[i].bytes)))
      own.push_back(segment);
  CHECK(*segments == own);
  CHECK_FALSE(decode_detail(*detail, outline, 0, 3).has_value());
  CHECK_FALSE(decode_detail(*detail, outline, 1, 2).has_value());
  CHECK_FALSE(decode_detail(ByteView(*detail).first(detail->size() - 1), outline, 1, 3));
  CHECK_FALSE(decode_detail(ByteView(*detail).first(detail->size() - 10), outline, 1, 3));
  Bytes nothing_long(kSegmentRecordBytes);
  CHECK_FALSE(decode_detail(nothing_long, outline, 1, 1).has_value());
}

TEST_CASE("a content too large for an outline is refused before it is read") {
  const MemoryContent unread("");
  const Layout huge{std::uint64_t{8} << 40, kMaxChunkBytes};
  const auto outline = make_outline(huge, unread, {});
  REQUIRE_FALSE(outline.has_value());
  CHECK(outline.error().code == ErrorCode::kLimit);
}

TEST_CASE("to cut a content can be interrupted") {
  const MemoryContent content(random_text(3'000'000, 6));
  std::stop_source stop;
  stop.request_stop();
  HashJob job;
  job.stop = stop.get_token();
  CHECK(make_outline(content.layout(), content, job).error().code == ErrorCode::kInterrupted);
}
