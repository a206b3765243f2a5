// Random contents, in random order, with drops and harm between: against a model of what must hold.
#include <catch2/catch.hpp>
#include <set>

#include "tests/content/disk_support.h"

using namespace p2p;
using namespace p2p::test;

namespace {

fs::path random_tree(Random& random, const fs::path& root) {
  const std::uint64_t sizes[] = {0, 1, 500, 5000, 65'536, 90'000, 200'000};
  const char* const names[] = {"a", "b", "c", "a.b", "\u00e9", "x y"};
  const auto name = [&] { return std::string(names[random.below(std::size(names))]); };
  fs::create_directory(root);
  for (std::uint64_t i = 0, count = 1 + random.below(25); i < count; ++i) {
    fs::path folder = root;
    for (auto depth = random.below(4); depth > 0; --depth) folder /= name() + "-folder";
    const std::uint64_t kind = random.below(10);
    const fs::path path = folder / name();
    if (is_there(path)) continue;
    if (kind == 0) {
      fs::create_directories(path);
    } else if (kind == 1) {
      fs::create_directories(folder);
      fs::create_symlink(random.chance(0.5) ? "nowhere" : "a", path);
    } else {
      const std::uint64_t bytes = sizes[random.below(std::size(sizes))];
      write_file(path,
                 random.chance(0.2) ? std::string(bytes, '\0') : random_text(bytes, random.next()),
                 random.chance(0.3));
    }
  }
  return root;
}

// One download with its model: which chunks have been written, and which of those were since
// harmed.
class Download {
 public:
  Download(Random& random, const Sample& sample, fs::path target)
      : random_(random), sample_(sample), target_(std::move(target)) {}

  void step() {
    if (!store_) return reopen();
    switch (random_.below(6)) {
      case 0:
        succeed(store_->checkpoint(model()));
        journalled_ = written_;
        return;
      case 1:
        store_.reset();
        if (random_.chance(0.5)) harm_journal();
        if (random_.chance(0.5)) harm_data();
        return;
      default:
        return write_one();
    }
  }

  void finish() {
    if (!store_) reopen();
    for (ChunkIndex i = 0; i < sample_.count(); ++i)
      if (!written_.count(i)) succeed(store_->write_chunk(i, sample_.chunks[i]));
    succeed(store_->commit());
    CHECK(reads_all(*store_, sample_));
  }

 private:
  Bitfield model() const {
    Bitfield chunks(sample_.count());
    for (const ChunkIndex chunk : written_) chunks.set(chunk);
    return chunks;
  }

  void reopen() {
    store_ = open_store(sample_, target_);
    const Bitfield& resumed = store_->resumed();
    // Chunks of zeros may be there before they were written.
    CHECK_FALSE(model().has_any_not_in(resumed));
    for (ChunkIndex i = resumed.next_set(0); i < resumed.size(); i = resumed.next_set(i + 1)) {
      Bytes bytes(sample_.chunks[i].size());
      succeed(store_->read(i, 0, bytes));
      CHECK(bytes == sample_.chunks[i]);
      written_.insert(i);
    }
  }

  void write_one() {
    if (sample_.count() == 0) return;
    const auto chunk = static_cast<ChunkIndex>(random_.below(sample_.count()));
    succeed(store_->write_chunk(chunk, sample_.chunks[chunk]));
    written_.insert(chunk);
  }

  void harm_journal() {
    const fs::path path = partial_of(target_) / "journal";
    std::string bytes = read_file(path);
    if (bytes.empty()) return;
    if (random_.chance(0.3))
      fs::remove(path);
    else if (random_.chance(0.5))
      fs::resize_file(path, random_.below(bytes.size()));
    else {
      bytes[random_.below(bytes.size())] ^= static_cast<char>(1 << random_.below(8));
      write_file(path, bytes);
    }
    journalled_.clear();
  }

  // A byte of a chunk that is in no journal.
  void harm_data() {
    for (const ChunkIndex chunk : written_) {
      if (journalled_.count(chunk) || !random_.chance(0.3)) continue;
      auto files =
          FileSet::open(sample_.manifest, partial_of(target_) / "data", FileSet::Mode::kWrite);
      REQUIRE(files.has_value());
      Bytes bytes = sample_.chunks[chunk];
      bytes[random_.below(bytes.size())] ^= 1;
      succeed((*files)->write(chunk, bytes));
      written_.erase(chunk);
      return;
    }
  }

  Random& random_;
  const Sample& sample_;
  fs::path target_;
  std::unique_ptr<Store> store_;
  std::set<ChunkIndex> written_;  // and on disk as they should be
  std::set<ChunkIndex> journalled_;
};

}  // namespace

TEST_CASE(
    "whatever is written, dropped and harmed in whatever order, the content comes out whole") {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    INFO("seed " << seed);
    Random random(seed);
    const TempFolder temp;
    if (seed % 3 == 0)
      write_file(temp / "source", random_text(random.below(500'000), seed));
    else
      random_tree(random, temp / "source");
    const Sample sample = sample_of(temp / "source");
    Download download(random, sample, temp / "out");
    for (std::uint64_t steps = random.below(60); steps > 0; --steps) download.step();
    download.finish();
    CHECK(snapshot(temp / "out") == snapshot(temp / "source"));
    CHECK_FALSE(is_there(partial_of(temp / "out")));
  }
}
