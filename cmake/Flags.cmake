# Warnings and hardening in one interface library; generated code does not get it.
include(CheckPIESupported)
check_pie_supported() # without this call CMake does not pass -pie
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

add_library(gleaner_flags INTERFACE)
target_include_directories(gleaner_flags INTERFACE "${CMAKE_SOURCE_DIR}/include")
target_compile_definitions(gleaner_flags INTERFACE _GNU_SOURCE GLEANER_VERSION="${PROJECT_VERSION}")
target_compile_options(gleaner_flags INTERFACE
  -Wall -Wextra -Wformat=2 $<$<C_COMPILER_ID:GNU>:-Wno-format-truncation> -Wvla -Wshadow -Wimplicit-fallthrough -Wundef -Wpointer-arith
  $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes -Wmissing-prototypes>
  -fno-strict-overflow -fno-strict-aliasing -fno-delete-null-pointer-checks
  -fno-common -ffile-prefix-map=${CMAKE_SOURCE_DIR}/=)
if(GLEANER_WERROR)
  target_compile_options(gleaner_flags INTERFACE -Werror)
endif()

if(GLEANER_SANITIZE OR GLEANER_FUZZ)
  set(sanitize "${GLEANER_SANITIZE}")
  target_compile_options(gleaner_flags INTERFACE -fsanitize=${sanitize} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(gleaner_flags INTERFACE -fsanitize=${sanitize})
elseif(CMAKE_BUILD_TYPE STREQUAL "Release" OR CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo")
  # reliability: hardening of release builds; fortify only works with optimisation and never with sanitizers.
  target_compile_options(gleaner_flags INTERFACE
    -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -fstack-protector-strong -fstack-clash-protection
    -ftrivial-auto-var-init=zero)
  if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
    target_compile_options(gleaner_flags INTERFACE -fzero-call-used-regs=used-gpr)
  endif()
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    target_compile_options(gleaner_flags INTERFACE -fcf-protection=full)
  elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
    target_compile_options(gleaner_flags INTERFACE -mbranch-protection=standard)
  endif()
endif()
target_link_options(gleaner_flags INTERFACE
  -Wl,-z,relro,-z,now,-z,noexecstack,-z,separate-code -Wl,--as-needed)
if(GLEANER_COVERAGE)
  target_compile_options(gleaner_flags INTERFACE --coverage)
  target_link_options(gleaner_flags INTERFACE --coverage)
endif()
