# cmake -DOUT=FILE.cc -DFOLDER=DIR -DFILES="a;b" -P embed.cmake: the files' bytes as C++, so that the
# binary needs no file beside it.
set(text "#include \"net/page_files.h\"\n\nnamespace p2p::net {\nnamespace {\n")
set(table "")
set(number 0)
foreach(file IN LISTS FILES)
  file(READ ${FOLDER}/${file} hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(APPEND text "constexpr unsigned char kFile${number}[] = {${bytes}};\n")
  string(APPEND table
         "    {\"${file}\", {reinterpret_cast<const char*>(kFile${number}), sizeof kFile${number}}},\n")
  math(EXPR number "${number} + 1")
endforeach()
string(APPEND text "const PageFile kFiles[] = {\n${table}};\n}  // namespace\n\n"
                   "std::span<const PageFile> page_files() { return kFiles; }\n\n}  // namespace p2p::net\n")
file(WRITE ${OUT} "${text}")
