# Toolchain for arm64 on another machine (tools/image --arch arm64): Debian's cross compiler, and a folder with arm64's packages, GLEANER_SYSROOT.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_SYSROOT "${GLEANER_SYSROOT}")
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES GLEANER_SYSROOT)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH "${GLEANER_SYSROOT}")
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER) # protoc-c, clang and bpftool are this machine's
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(ENV{PKG_CONFIG_SYSROOT_DIR} "${GLEANER_SYSROOT}")
set(ENV{PKG_CONFIG_LIBDIR} "${GLEANER_SYSROOT}/usr/lib/aarch64-linux-gnu/pkgconfig:${GLEANER_SYSROOT}/usr/share/pkgconfig")
