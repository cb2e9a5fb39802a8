# The libraries of a build with Emscripten, which has none of the distribution's: the headers of fmt and nlohmann-json, and utf8proc,
# pcre2, zlib and libpng compiled from their sources. tools/wasm puts all of them into CLEARHEAD_WASM_LIBRARIES. Codecs of JPEG and of
# sounds, oneDNN, the HTTP server and TLS are left out (wasm/CMakeLists.txt).
set(CLEARHEAD_WASM_LIBRARIES "" CACHE PATH "Folder with include/, utf8proc/, pcre2/, zlib/ and libpng/")
set(libraries ${CLEARHEAD_WASM_LIBRARIES})
set(BUILD_SHARED_LIBS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE OFF)

# msimd128: vectors of 128 bits. Exceptions and longjmp by the instructions of WebAssembly, not by calls into JavaScript.
add_compile_options(-msimd128 -fwasm-exceptions -sSUPPORT_LONGJMP=wasm)
include_directories(${CMAKE_CURRENT_LIST_DIR}/include)
add_link_options(-fwasm-exceptions -sSUPPORT_LONGJMP=wasm)
target_compile_options(clearhead_flags INTERFACE -Wno-shorten-64-to-32)  # size_t has 32 bits, so every conversion of an int64_t would warn

# The rooms ask for libraries by these two commands. Everything they ask for is a target below.
macro(find_package name)
  if("${name}" STREQUAL "Threads")
    _find_package(${ARGV})
  endif()
endmacro()
macro(pkg_check_modules)
endmacro()

foreach(name fmt::fmt-header-only nlohmann_json::nlohmann_json hwy::hwy oneDNN::dnnl OpenSSL::SSL PkgConfig::turbojpeg PkgConfig::sndfile
    PkgConfig::httplib)
  add_library(${name} INTERFACE IMPORTED GLOBAL)
endforeach()
target_include_directories(fmt::fmt-header-only INTERFACE ${libraries}/include)
target_compile_definitions(fmt::fmt-header-only INTERFACE FMT_HEADER_ONLY)

# from_sources(TARGET LIBRARY FOLDER FILES…)
function(from_sources target name folder)
  add_library(${name} STATIC ${ARGN})
  target_include_directories(${name} PUBLIC ${folder})
  target_compile_options(${name} PRIVATE -w)
  add_library(${target} ALIAS ${name})
endfunction()

from_sources(PkgConfig::utf8proc wasm_utf8proc ${libraries}/utf8proc ${libraries}/utf8proc/utf8proc.c)
target_compile_definitions(wasm_utf8proc PUBLIC UTF8PROC_STATIC)

file(GLOB pcre2 ${libraries}/pcre2/pcre2_*.c)
list(FILTER pcre2 EXCLUDE REGEX "pcre2_(dftables|fuzzsupport|ucptables|jit_match|jit_misc|jit_test|printint)\\.c$")
from_sources(PkgConfig::pcre2 wasm_pcre2 ${libraries}/pcre2 ${pcre2})
target_compile_definitions(wasm_pcre2 PRIVATE HAVE_CONFIG_H SUPPORT_UNICODE PCRE2_CODE_UNIT_WIDTH=8 PUBLIC PCRE2_STATIC)

file(GLOB zlib ${libraries}/zlib/*.c)
from_sources(ZLIB::ZLIB wasm_zlib ${libraries}/zlib ${zlib})

file(GLOB png ${libraries}/libpng/png*.c)
list(FILTER png EXCLUDE REGEX "pngtest\\.c$")
from_sources(PNG::PNG wasm_png ${libraries}/libpng ${png})
target_link_libraries(wasm_png PUBLIC wasm_zlib)
