#include "agent/catalog.h"

#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <fstream>

#include "content/scan.h"
#include "crypto/digest.h"
#include "tests/support/temp_folder.h"

using namespace p2p;
using namespace p2p::agent;

namespace {

namespace fs = std::filesystem;

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

// A content that lies in the catalog as if it had been fetched.
struct Stored {
  explicit Stored(const Catalog& catalog, const fs::path& folder, const std::string& text) {
    write(folder / "source" / "a", text);
    write(folder / "source" / "b" / "tool", "run me");
    chmod((folder / "source" / "b" / "tool").c_str(), 0755);
    auto scan = scan_path(folder / "source", {});
    REQUIRE(scan.has_value());
    manifest = scan->manifest;
    encoded = encode_manifest(*manifest);
    holding.content = content_id_of(encoded);
    holding.state = Holding::State::kComplete;
    holding.psk = Secret::random();
    holding.bytes = manifest->layout().total_bytes;
    REQUIRE(catalog.save(holding).has_value());
    REQUIRE(catalog.save_manifest(holding.content, encoded).has_value());
    fs::copy(folder / "source", catalog.data_of(holding), fs::copy_options::recursive);
    REQUIRE(catalog.seal(holding, manifest).has_value());
  }
  Bytes read(const Catalog& catalog) const {
    auto files = catalog.open_files(holding, manifest);
    REQUIRE(files.has_value());
    Bytes bytes(manifest->layout().length_of(0));
    return (*files)->read(0, 0, bytes) ? bytes : Bytes();
  }
  std::shared_ptr<const Manifest> manifest;
  Bytes encoded;
  Holding holding;
};

}  // namespace

TEST_CASE(
    "what a catalog holds is there again when it is opened anew, and is read without a hash") {
  const test::TempFolder folder;
  std::optional<Stored> stored;
  {
    const auto catalog = Catalog::open(folder.path() / "store");
    REQUIRE(catalog.has_value());
    stored.emplace(*catalog, folder.path(), "some text");
  }
  const auto catalog = Catalog::open(folder.path() / "store");
  REQUIRE(catalog.has_value());
  const auto holdings = catalog->load();
  REQUIRE(holdings.size() == 1);
  CHECK(encode_holding(holdings[0]) == encode_holding(stored->holding));
  const auto held = catalog->load_manifest(stored->holding.content);
  REQUIRE(held.has_value());
  CHECK(held->encoded_manifest == stored->encoded);
  CHECK(stored->read(*catalog).size() == stored->holding.bytes);
}

TEST_CASE("the files of a store are read-only, and may be run where the content says so") {
  const test::TempFolder folder;
  const auto catalog = Catalog::open(folder.path() / "store");
  REQUIRE(catalog.has_value());
  const Stored stored(*catalog, folder.path(), "text");
  struct stat status {};
  REQUIRE(stat((catalog->data_of(stored.holding) / "a").c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0444);
  REQUIRE(stat((catalog->data_of(stored.holding) / "b/tool").c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0555);
}

TEST_CASE("a stored file that was changed since is not read") {
  const test::TempFolder folder;
  const auto catalog = Catalog::open(folder.path() / "store");
  REQUIRE(catalog.has_value());
  const Stored stored(*catalog, folder.path(), "text");
  const fs::path file = catalog->data_of(stored.holding) / "a";
  chmod(file.c_str(), 0644);
  write(file, "tex!");
  CHECK(stored.read(*catalog).empty());
}

TEST_CASE("a second agent does not get the same store") {
  const test::TempFolder folder;
  const auto first = Catalog::open(folder.path() / "store");
  REQUIRE(first.has_value());
  const auto second = Catalog::open(folder.path() / "store");
  REQUIRE_FALSE(second.has_value());
  CHECK(second.error().code == ErrorCode::kExists);
}

TEST_CASE("a damaged record is passed over, and the others are there") {
  const test::TempFolder folder;
  const auto catalog = Catalog::open(folder.path() / "store");
  REQUIRE(catalog.has_value());
  const Stored stored(*catalog, folder.path(), "text");
  Holding other = stored.holding;
  other.content.bytes[0] ^= 1;
  REQUIRE(catalog->save(other).has_value());
  const fs::path contents = folder.path() / "store/contents";
  write(contents / other.content.hex() / "holding", "{\"version\": 1");
  write(contents / "not-an-id" / "holding", "{}");
  const auto holdings = catalog->load();
  REQUIRE(holdings.size() == 1);
  CHECK(holdings[0].content == stored.holding.content);
  CHECK(fs::exists(contents / other.content.hex()));
}

TEST_CASE("a damaged manifest or record of files is refused") {
  const test::TempFolder folder;
  const auto catalog = Catalog::open(folder.path() / "store");
  REQUIRE(catalog.has_value());
  const Stored stored(*catalog, folder.path(), "text");
  const fs::path place = folder.path() / "store/contents" / stored.holding.content.hex();
  fs::resize_file(place / "files", fs::file_size(place / "files") - 1);
  CHECK_FALSE(catalog->open_files(stored.holding, stored.manifest).has_value());
  fs::resize_file(place / "manifest", fs::file_size(place / "manifest") - 1);
  CHECK_FALSE(catalog->load_manifest(stored.holding.content).has_value());
}

TEST_CASE(
    "what is removed is gone at once, also twice, and its room when the removed are emptied") {
  const test::TempFolder folder;
  const auto catalog = Catalog::open(folder.path() / "store");
  REQUIRE(catalog.has_value());
  const Stored stored(*catalog, folder.path(), "text");
  for (int i = 0; i < 2; ++i) {
    REQUIRE(catalog->save(stored.holding).has_value());
    REQUIRE(catalog->remove(stored.holding.content).has_value());
    CHECK(catalog->load().empty());
  }
  CHECK(catalog->remove(stored.holding.content).has_value());  // nothing there
  CHECK_FALSE(fs::is_empty(folder.path() / "store/removed"));
  REQUIRE(catalog->empty_removed().has_value());
  CHECK(fs::is_empty(folder.path() / "store/removed"));
}

TEST_CASE("damaged data is set aside, in place of what was, and removed alone") {
  const test::TempFolder folder;
  const auto catalog = Catalog::open(folder / "store");
  REQUIRE(catalog.has_value());
  const Stored stored(*catalog, folder.path(), "text");
  const ContentId id = stored.holding.content;
  const fs::path data = catalog->data_of(stored.holding), damaged = catalog->damaged_of(id);
  CHECK(catalog->set_aside_damaged(id).has_value());
  CHECK_FALSE(fs::exists(data));
  CHECK(fs::exists(damaged / "b" / "tool"));
  CHECK(catalog->set_aside_damaged(id).has_value());  // there is no data any more
  CHECK(fs::exists(damaged / "b" / "tool"));
  write(data / "c", "other");
  CHECK(catalog->set_aside_damaged(id).has_value());
  CHECK_FALSE(fs::exists(damaged / "b"));
  write(data / "d", "another");
  CHECK(catalog->set_aside_damaged(id).has_value());
  CHECK(fs::exists(damaged / "d"));
  CHECK_FALSE(fs::exists(damaged / "c"));
  CHECK(catalog->remove_damaged(id).has_value());
  CHECK_FALSE(fs::exists(damaged));
  CHECK(catalog->load_manifest(id).has_value());
  CHECK(catalog->empty_removed().has_value());
}
