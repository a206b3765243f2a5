# Runs at installation. P2P_BINARY prints its own manual pages and completions; P2P_DEPLOY is the
# folder of this file.
set(share "$ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}/share")

# print(FILE ARGUMENT...): what `p2p ARGUMENT...` prints, as a file below share/.
function(print file)
  get_filename_component(folder "${share}/${file}" DIRECTORY)
  file(MAKE_DIRECTORY "${folder}")
  execute_process(COMMAND "${P2P_BINARY}" ${ARGN} OUTPUT_FILE "${share}/${file}" COMMAND_ERROR_IS_FATAL ANY)
endfunction()

# As Debian's policy wants it: smallest, and the same each time.
function(compress file)
  execute_process(COMMAND gzip -9nf "${share}/${file}" COMMAND_ERROR_IS_FATAL ANY)
endfunction()

execute_process(COMMAND "${P2P_BINARY}" man --list OUTPUT_VARIABLE pages COMMAND_ERROR_IS_FATAL ANY)
string(STRIP "${pages}" pages)
string(REPLACE "\n" ";" pages "${pages}")
foreach(page IN LISTS pages)
  print(man/man1/${page}.1 man ${page})
  compress(man/man1/${page}.1)
endforeach()

print(bash-completion/completions/p2p completion bash)
print(zsh/vendor-completions/_p2p completion zsh)
print(fish/vendor_completions.d/p2p.fish completion fish)

file(COPY "${P2P_DEPLOY}/debian/changelog" DESTINATION "${share}/doc/p2p")
compress(doc/p2p/changelog)

# The binary has the libraries of cmake/libraries.cmake in it, whose licences want to be told. Where
# the system is not Debian, or leaves such files out, the package is not to be passed on.
file(READ "${P2P_DEPLOY}/debian/copyright" copyright)
foreach(package libuv1-dev libsodium-dev libssl-dev libabsl-dev libutf8proc-dev libhiredis-dev libevent-dev
                "lib*blake3-dev" libmsgpack-cxx-dev libcli11-dev libspdlog-dev libfmt-dev nlohmann-json3-dev
                "libstdc++-*-dev")
  file(GLOB files "/usr/share/doc/${package}/copyright")
  if(NOT files)
    message(WARNING "/usr/share/doc/${package}/copyright is not here: it is missing in the package's copyright")
  endif()
  foreach(file IN LISTS files)
    file(READ "${file}" text)
    string(APPEND copyright "\n======== ${package} ========\n\n${text}")
  endforeach()
endforeach()
file(WRITE "${share}/doc/p2p/copyright" "${copyright}")
