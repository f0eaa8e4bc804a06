# bpf/X.bpf.c -> object (clang) -> stripped object -> skeleton <bpf/X.skel.h> (bpftool), carried by lib_bpf together with libbpf.
# What is missing on the build machine switches the feature off with a message: everything else of gleaner works without it.
option(GLEANER_BPF "Build the eBPF programs (clang 14 or later, bpftool, libbpf)" ON)
add_library(lib_bpf INTERFACE)

set(bpf_missing "")
if(GLEANER_BPF)
  find_program(BPF_CLANG NAMES clang-14 clang clang-19 clang-16 clang-15)
  find_program(BPFTOOL bpftool PATHS /usr/sbin /sbin)
  pkg_check_modules(PKG_bpf IMPORTED_TARGET libbpf>=1.0)
  foreach(tool BPF_CLANG BPFTOOL PKG_bpf_FOUND)
    if(NOT ${tool})
      list(APPEND bpf_missing ${tool})
    endif()
  endforeach()
  if(bpf_missing)
    message(WARNING "eBPF is left out: no ${bpf_missing} (Debian: clang-14 bpftool libbpf-dev). `gleaner probe` will say so.")
  endif()
else()
  message(STATUS "eBPF is left out: GLEANER_BPF is OFF")
endif()

if(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  set(bpf_arch arm64)
else()
  set(bpf_arch x86)
endif()

# Adds the skeleton of bpf/NAME.bpf.c.
function(gleaner_bpf name)
  set(source "${CMAKE_SOURCE_DIR}/bpf/${name}.bpf.c")
  set(out "${CMAKE_BINARY_DIR}/bpf/${name}")
  add_custom_command(
    OUTPUT "${out}.skel.h"
    COMMAND "${BPF_CLANG}" -g -O2 -Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers -Werror -target bpf -mcpu=v3
      -D__TARGET_ARCH_${bpf_arch} -fno-stack-protector "-ffile-prefix-map=${CMAKE_SOURCE_DIR}/="
      "$<$<BOOL:${PKG_bpf_INCLUDE_DIRS}>:-I$<JOIN:${PKG_bpf_INCLUDE_DIRS},;-I>>"
      -MD -MF "${out}.d" -MT "${out}.skel.h" -c "${source}" -o "${out}.full.o"
    # Without DWARF, which is most of the object.
    COMMAND "${BPFTOOL}" gen object "${out}.bpf.o" "${out}.full.o"
    COMMAND "${BPFTOOL}" gen skeleton "${out}.bpf.o" name "${name}_bpf" > "${out}.skel.h.part"
    COMMAND "${CMAKE_COMMAND}" -E rename "${out}.skel.h.part" "${out}.skel.h"
    DEPENDS "${source}" DEPFILE "${out}.d" COMMAND_EXPAND_LISTS VERBATIM)
  add_custom_target(bpf_${name} DEPENDS "${out}.skel.h")
  add_dependencies(lib_bpf bpf_${name})
endfunction()

if(GLEANER_BPF AND NOT bpf_missing)
  file(MAKE_DIRECTORY "${CMAKE_BINARY_DIR}/bpf")
  gleaner_bpf(listen)
  gleaner_bpf(cost)
  target_include_directories(lib_bpf SYSTEM INTERFACE "${CMAKE_BINARY_DIR}")
  target_link_libraries(lib_bpf INTERFACE PkgConfig::PKG_bpf)
  target_compile_definitions(lib_bpf INTERFACE GLEANER_HAVE_BPF)
endif()
