// The files of net/page/, which the build puts into the binary (cmake/embed.cmake).
#pragma once

#include <span>
#include <string_view>

namespace p2p::net {

struct PageFile {
  std::string_view name;
  std::string_view content;
};

std::span<const PageFile> page_files();

}  // namespace p2p::net
