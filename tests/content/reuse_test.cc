// What is found of a new content in older ones, and what is made of it.
#include <catch2/catch.hpp>

#include "content/reuse_plan.h"
#include "tests/content/disk_support.h"
#include "tests/content/memory_content.h"

using namespace p2p;
using namespace p2p::test;

namespace {

constexpr std::uint32_t kChunk = kMinChunkBytes;

// All that a fetcher does, with an honest side that has the new content.
std::shared_ptr<const ReusePlan> plan_of(const MemoryContent& content,
                                         std::shared_ptr<OldContents> old) {
  succeed(old->index_groups({}));
  auto outline = make_outline(content.layout(), content, {});
  REQUIRE(outline.has_value());
  const auto shared = std::make_shared<const Outline>(*std::move(outline));
  ReuseSearch search(shared, old);
  if (!search.missing_groups().empty()) succeed(old->index_segments({}));
  for (const std::uint32_t group : search.missing_groups()) {
    const auto detail = make_detail(*shared, group, 1, content.layout(), content);
    REQUIRE(detail.has_value());
    const auto segments = decode_detail(*detail, *shared, group, 1);
    REQUIRE(segments.has_value());
    search.add_detail(group, *segments);
  }
  return search.plan(content.layout());
}

std::shared_ptr<MemoryContent> in_memory(std::string text) {
  return std::make_shared<MemoryContent>(std::move(text));
}

std::shared_ptr<OldContents> old_of(const std::vector<std::shared_ptr<MemoryContent>>& contents) {
  std::vector<OldSource> sources;
  for (const auto& content : contents) sources.push_back({content->layout(), content});
  return std::make_shared<OldContents>(std::move(sources));
}

Manifest manifest_of(const MemoryContent& content) {
  Manifest manifest{Manifest::Root::kFile,
                    "content",
                    kChunk,
                    {{Entry::Kind::kFile, "", content.bytes().size(), ""}},
                    {}};
  const Layout layout = content.layout();
  for (ChunkIndex i = 0; i < layout.chunk_count(); ++i)
    manifest.chunk_hashes.push_back(
        chunk_digest(content.bytes().subspan(layout.offset_of(i), layout.length_of(i))));
  return manifest;
}

struct MemoryWriter : ChunkWriter {
  Status write_chunk(ChunkIndex chunk, ByteView bytes) override {
    if (fails) return Error{ErrorCode::kDiskFull, "full"};
    const std::lock_guard lock(mutex);
    written[chunk].assign(bytes.begin(), bytes.end());
    return {};
  }
  std::mutex mutex;
  std::map<ChunkIndex, Bytes> written;
  bool fails = false;
};

// What becomes of each chunk when just the missing ranges come from elsewhere.
void check_fills(const ReusePlan& plan, const MemoryContent& content) {
  const Layout layout = content.layout();
  for (ChunkIndex i = 0; i < layout.chunk_count(); ++i) {
    const ByteView real = content.bytes().subspan(layout.offset_of(i), layout.length_of(i));
    const PartialChunk* const partial = plan.partial_of(i);
    if (!partial && !plan.whole().test(i)) continue;
    Bytes bytes(real.size(), 0xaa);
    if (partial) {
      CHECK(are_partial_ranges(partial->missing, layout.length_of(i)));
      for (const ByteRange& range : partial->missing)
        std::copy_n(real.begin() + range.offset, range.bytes, bytes.begin() + range.offset);
    }
    succeed(plan.fill(i, bytes));
    CHECK(std::equal(bytes.begin(), bytes.end(), real.begin(), real.end()));
  }
}

}  // namespace

TEST_CASE("an equal old content holds all chunks, whatever its chunk size") {
  const MemoryContent content(random_text(1'000'000, 1));
  const auto old = std::make_shared<MemoryContent>(random_text(1'000'000, 1), 4 * kChunk);
  const auto plan = plan_of(content, old_of({}));
  CHECK(plan->known_bytes() == 0);
  const auto all =
      plan_of(content, std::make_shared<OldContents>(std::vector<OldSource>{{old->layout(), old}}));
  CHECK(all->whole().all());
  CHECK(all->known_bytes() == 1'000'000);
  check_fills(*all, content);
}

TEST_CASE("of moved bytes nothing is missing, and of changed ones little more than these") {
  const std::string text = random_text(2'000'000, 2);
  std::string changed = "odd" + text;
  changed[800'000] ^= 1;
  changed[1'300'000] ^= 1;
  const MemoryContent content(changed);
  const auto plan = plan_of(content, old_of({in_memory(text)}));
  CHECK(changed.size() - plan->known_bytes() < 20'000);
  CHECK(plan->partial().size() <= 4);
  check_fills(*plan, content);
}

TEST_CASE("several old contents together hold what none of them holds alone") {
  const std::string a = random_text(300'000, 3), b = random_text(300'000, 4);
  const MemoryContent content(b + a);
  const auto plan = plan_of(content, old_of({in_memory(a), in_memory(b)}));
  CHECK(content.bytes().size() - plan->known_bytes() < 10'000);
  check_fills(*plan, content);
}

TEST_CASE("an old content that shares nothing gives nothing") {
  const MemoryContent content(random_text(500'000, 5));
  const auto plan = plan_of(content, old_of({in_memory(random_text(500'000, 6))}));
  CHECK(plan->known_bytes() == 0);
  CHECK(plan->whole().none());
  CHECK(plan->partial().empty());
}

TEST_CASE("what was put together is written where it matches its hash, and not where it does not") {
  const MemoryContent content(random_text(10 * kChunk, 7));
  const auto old = in_memory(random_text(10 * kChunk, 7));
  const auto plan = plan_of(content, old_of({old}));
  REQUIRE(plan->whole().all());
  old->text()[3 * kChunk + 5] ^= 1;  // it changes under us
  MemoryWriter writer;
  Bitfield have(10);
  have.set(9);
  const auto composed = plan->compose(manifest_of(content), have, writer, {});
  REQUIRE(composed.has_value());
  CHECK(composed->count() == 8);
  CHECK_FALSE(composed->test(3));
  CHECK_FALSE(composed->test(9));
  CHECK(writer.written.size() == 8);
  writer.fails = true;
  CHECK(plan->compose(manifest_of(content), have, writer, {}).error().code == ErrorCode::kDiskFull);
  old->fail();
  CHECK(plan->compose(manifest_of(content), have, writer, {})->none());
}

TEST_CASE("a chunk has no more ranges than the limit, and short known runs are fetched") {
  std::vector<ReusePlan::Known> known;
  // Known runs of 60 to 100 bytes, each behind 20 that are not.
  std::uint64_t at = 20;
  std::string text = random_text(2 * kChunk, 8);
  for (std::uint32_t i = 0; at + 120 < kChunk; ++i) {
    const std::uint32_t bytes = 60 + i % 41;
    known.push_back({at, bytes, {0, at}});
    at += bytes + 20;
  }
  const MemoryContent content(text);
  const ReusePlan plan(content.layout(), old_of({in_memory(text)}), known);
  REQUIRE(plan.partial().size() == 1);
  const auto& missing = plan.partial()[0].missing;
  CHECK(missing.size() <= kMaxRangesOfChunk);
  CHECK(missing.size() > kMaxRangesOfChunk / 2);
  for (std::size_t i = 1; i < missing.size(); ++i)
    CHECK(missing[i].offset - missing[i - 1].offset - missing[i - 1].bytes >= kMinKnownBytes);
  check_fills(plan, content);
}

TEST_CASE("all chunks together have no more ranges than the limit") {
  constexpr std::uint64_t kTotal = 1200ull * kChunk;
  std::vector<ReusePlan::Known> known;
  for (std::uint64_t at = 100; at + 200 < kTotal; at += 300) known.push_back({at, 200, {0, at}});
  const ReusePlan plan({kTotal, kChunk}, old_of({}), known);
  std::size_t ranges = 0;
  for (const PartialChunk& partial : plan.partial()) ranges += partial.missing.size();
  CHECK(ranges <= kMaxRanges);
}

TEST_CASE("ranges that a partial chunk may not have") {
  CHECK(are_partial_ranges(std::vector<ByteRange>{{0, 1}, {2, 98}}, 101));
  CHECK_FALSE(are_partial_ranges({}, 100));
  CHECK_FALSE(are_partial_ranges(std::vector<ByteRange>{{0, 100}}, 100));
  CHECK_FALSE(are_partial_ranges(std::vector<ByteRange>{{0, 0}}, 100));
  CHECK_FALSE(are_partial_ranges(std::vector<ByteRange>{{10, 91}}, 100));
  CHECK_FALSE(are_partial_ranges(std::vector<ByteRange>{{10, 10}, {20, 10}}, 100));
  CHECK_FALSE(are_partial_ranges(std::vector<ByteRange>{{10, 10}, {5, 2}}, 100));
  CHECK_FALSE(are_partial_ranges(std::vector<ByteRange>{{0xffffffff, 0xffffffff}}, 100));
  std::vector<ByteRange> many;
  for (std::uint32_t i = 0; i <= kMaxRangesOfChunk; ++i) many.push_back({2 * i, 1});
  CHECK_FALSE(are_partial_ranges(many, kChunk));
}

TEST_CASE("an older version that is missing or no content is refused, with its path") {
  const TempFolder temp;
  const Error missing = error_of(OldContents::open({temp / "nothing"}));
  CHECK(missing.code == ErrorCode::kUsage);
  CHECK(missing.message.find((temp / "nothing").string()) != std::string::npos);
  write_file(temp / "tree" / "file", "x");
  REQUIRE(mkfifo((temp / "tree" / "fifo").c_str(), 0600) == 0);
  const Error fifo = error_of(OldContents::open({temp / "tree"}));
  CHECK(fifo.code == ErrorCode::kIo);
  CHECK(fifo.message.find("fifo") != std::string::npos);
}

TEST_CASE("a folder is an old version of an archive that holds its files") {
  const TempFolder temp;
  const std::string a = random_text(200'000, 9), b = random_text(300'001, 10);
  write_file(temp / "tree" / "a", a);
  write_file(temp / "tree" / "b", b);
  auto old = OldContents::open({temp / "tree"});
  REQUIRE(old.has_value());
  const MemoryContent archive("head" + b + "head" + a);
  const auto plan = plan_of(archive, std::move(*old));
  CHECK(archive.bytes().size() - plan->known_bytes() < 10'000);
  check_fills(*plan, archive);
}

TEST_CASE("of more partly known chunks than there may be ranges the last are fetched whole") {
  constexpr ChunkIndex kChunks = kMaxRanges + 1000;
  constexpr std::uint64_t kTotal = std::uint64_t{kChunks} * kChunk;
  std::vector<ReusePlan::Known> known;
  for (std::uint64_t at = 0; at < kTotal; at += kChunk) known.push_back({at, 100, {0, at}});
  const ReusePlan plan({kTotal, kChunk}, old_of({}), known);
  CHECK(plan.partial().size() == kMaxRanges);
  CHECK(plan.known_bytes() == 100 * kMaxRanges);
  CHECK(plan.partial_of(0) != nullptr);
  CHECK(plan.partial_of(kChunks - 1) == nullptr);
}

namespace {

// One byte of it cannot be read.
class BadSector : public MemoryContent {
 public:
  BadSector(std::string text, std::uint64_t bad) : MemoryContent(std::move(text)), bad_(bad) {}
  Status read(ChunkIndex chunk, std::uint32_t offset, MutableBytes out) const override {
    const std::uint64_t start = layout().offset_of(chunk) + offset;
    if (start <= bad_ && bad_ < start + out.size()) return Error{ErrorCode::kIo, "a bad sector"};
    return MemoryContent::read(chunk, offset, out);
  }

 private:
  std::uint64_t bad_;
};

}  // namespace

TEST_CASE("of an old content with an unreadable byte all but its strip is found, where it may be") {
  const std::string strip(kStripBytes, 'a'), good = random_text(2'000'000, 11);
  const std::string other = random_text(500'000, 12);
  const auto bad = std::make_shared<BadSector>(strip + good, 5'000'000);
  const auto sound = in_memory(other);
  OldContents strict({{bad->layout(), bad}, {sound->layout(), sound}});
  CHECK(error_of(strict.index_groups({})).code == ErrorCode::kIo);
  const auto lenient = std::make_shared<OldContents>(
      std::vector<OldSource>{{bad->layout(), bad}, {sound->layout(), sound}});
  succeed(lenient->index_groups({}, Unreadable::kPassedOver));
  const MemoryContent content(other + good);
  auto outline = make_outline(content.layout(), content, {});
  REQUIRE(outline.has_value());
  const auto shared = std::make_shared<const Outline>(*std::move(outline));
  const auto plan = ReuseSearch(shared, lenient).plan(content.layout());
  CHECK(content.bytes().size() - plan->known_bytes() < 300'000);
  check_fills(*plan, content);
}

TEST_CASE("groups that cannot be read again are passed over where they may be") {
  const auto old = in_memory(random_text(500'000, 13));
  OldContents contents({{old->layout(), old}});
  succeed(contents.index_groups({}));
  old->fail();
  CHECK(error_of(contents.index_segments({})).code == ErrorCode::kIo);
  succeed(contents.index_segments({}, Unreadable::kPassedOver));
}

namespace {

bool is_worthwhile(const std::string& text, const std::string& older) {
  const MemoryContent content(text);
  const auto old = old_of({in_memory(older)});
  succeed(old->index_groups({}));
  auto outline = make_outline(content.layout(), content, {});
  REQUIRE(outline.has_value());
  return ReuseSearch(std::make_shared<const Outline>(*std::move(outline)), old).is_worthwhile();
}

}  // namespace

TEST_CASE("a new version that was shifted and edited all over is worth the details") {
  const std::string text = random_text(6'000'000, 14);
  std::string edited = "odd" + text;
  for (std::size_t at = 1000; at < edited.size(); at += 100'000) edited[at] ^= 1;
  CHECK(is_worthwhile(edited, text));
  // So is what was damaged in many places.
  std::string damaged = text;
  for (std::size_t at = 1000; at < damaged.size(); at += 50'000) damaged[at] ^= 1;
  CHECK(is_worthwhile(text, damaged));
}

TEST_CASE(
    "what has nothing, or hardly a group, in common with a content is not worth the details") {
  const std::string text = random_text(6'000'000, 15), other = random_text(6'000'000, 16);
  CHECK_FALSE(is_worthwhile(text, other));
  CHECK_FALSE(is_worthwhile(other + text.substr(0, 40'000), text));
  CHECK(is_worthwhile(other + text.substr(0, 400'000), text));
  CHECK_FALSE(is_worthwhile("", text));
}

TEST_CASE("once there is a plan nothing more is found in the old contents, but they are read") {
  const MemoryContent content(random_text(500'000, 17));
  const auto old = old_of({in_memory(random_text(500'000, 17))});
  succeed(old->index_groups({}));
  const auto outline = make_outline(content.layout(), content, {});
  REQUIRE(outline.has_value());
  REQUIRE(old->find_group(outline->groups[0]).has_value());
  const auto plan =
      ReuseSearch(std::make_shared<const Outline>(*outline), old).plan(content.layout());
  CHECK_FALSE(old->find_group(outline->groups[0]).has_value());
  check_fills(*plan, content);
}

TEST_CASE("a plan that was let go fills in nothing, and holds no old contents") {
  const MemoryContent content(random_text(500'000, 18));
  auto older = in_memory(random_text(500'000, 18));
  const std::weak_ptr<MemoryContent> held = older;
  const auto plan = plan_of(content, old_of({std::move(older)}));
  Bytes bytes(kChunk);
  succeed(plan->fill(0, bytes));
  plan->let_go();
  CHECK(error_of(plan->fill(0, bytes)).code == ErrorCode::kInterrupted);
  CHECK(held.expired());
}
