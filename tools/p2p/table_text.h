// Tables on stdout, as a person reads them.
#pragma once

#include <string>
#include <vector>

namespace p2p::cli {

// Columns as wide as their widest cell, two blanks apart, each row with a newline. The first row is
// the head. Every row has as many cells.
std::string table_text(const std::vector<std::vector<std::string>>& rows);

}  // namespace p2p::cli
