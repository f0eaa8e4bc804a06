# Every library that is linked, under the name that gleaner_module(... LIBRARIES ...) uses.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

function(gleaner_library name pkg)
  pkg_check_modules(PKG_${name} REQUIRED IMPORTED_TARGET ${pkg})
  add_library(lib_${name} INTERFACE)
  target_link_libraries(lib_${name} INTERFACE PkgConfig::PKG_${name})
endfunction()

gleaner_library(event_core libevent_core)
gleaner_library(xxhash libxxhash)
gleaner_library(fyaml libfyaml)
gleaner_library(curl libcurl)
gleaner_library(ssl openssl)
gleaner_library(re2 re2)
gleaner_library(protobuf_c libprotobuf-c)
gleaner_library(zlib zlib)
# isa-l is many times faster than zlib at gzip, but not built for every architecture: zlib stands in.
option(GLEANER_ISAL "Use isa-l for gzip where it is installed" ON)
add_library(lib_isal INTERFACE)
if(GLEANER_ISAL)
  pkg_check_modules(PKG_isal IMPORTED_TARGET libisal)
endif()
if(PKG_isal_FOUND AND GLEANER_ISAL)
  target_link_libraries(lib_isal INTERFACE PkgConfig::PKG_isal)
  target_compile_definitions(lib_isal INTERFACE GLEANER_HAVE_ISAL)
endif()
gleaner_library(zstd libzstd)
gleaner_library(microhttpd libmicrohttpd)
gleaner_library(yajl yajl)
gleaner_library(nghttp2 libnghttp2)
gleaner_library(cmocka cmocka)
add_library(lib_threads INTERFACE)
target_link_libraries(lib_threads INTERFACE Threads::Threads)
add_library(lib_math INTERFACE)
target_link_libraries(lib_math INTERFACE m)

# xxhash is used inline, so nothing of its library is linked.
add_library(lib_xxhash_inline INTERFACE)

# OTLP's messages, compiled by protoc-c from proto/.
find_program(PROTOC_C protoc-c REQUIRED)
file(GLOB_RECURSE proto_files RELATIVE "${CMAKE_SOURCE_DIR}/proto" CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/proto/*.proto")
add_library(lib_otlp_proto INTERFACE)
if(proto_files)
  set(proto_out "${CMAKE_BINARY_DIR}/proto")
  file(MAKE_DIRECTORY "${proto_out}")
  set(proto_sources)
  foreach(proto ${proto_files})
    string(REGEX REPLACE "\\.proto$" ".pb-c" stem "${proto}")
    add_custom_command(
      OUTPUT "${proto_out}/${stem}.c" "${proto_out}/${stem}.h"
      COMMAND "${PROTOC_C}" "--c_out=${proto_out}" "${proto}"
      DEPENDS "${CMAKE_SOURCE_DIR}/proto/${proto}"
      WORKING_DIRECTORY "${CMAKE_SOURCE_DIR}/proto"
      VERBATIM)
    list(APPEND proto_sources "${proto_out}/${stem}.c")
  endforeach()
  add_library(otlp_proto STATIC ${proto_sources})
  target_include_directories(otlp_proto SYSTEM PUBLIC "${proto_out}")
  target_compile_options(otlp_proto PRIVATE -w)
  target_link_libraries(otlp_proto PUBLIC lib_protobuf_c)
  target_link_libraries(lib_otlp_proto INTERFACE otlp_proto)
endif()
