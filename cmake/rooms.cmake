# clearhead_room(NAME [USES rooms…] [LINKS libraries…] [SOURCES extra…] [HEADERS_ONLY]): builds the static library clearhead_NAME from the *.cc files
# of this folder. USES lists the rooms that it may include; it may also include the rooms that these may include. The compiler does not find
# the headers of other rooms: each room has its own include folder, rooms/NAME in the build, which only contains a link to its sources.
# tools/tidy.py reads these lines to check what the compiler cannot: the public headers, which share a folder, and the inner rooms of
# src/backends/cpu.

find_package(Threads REQUIRED)

add_library(clearhead_flags INTERFACE)
target_compile_features(clearhead_flags INTERFACE cxx_std_20)
target_compile_options(clearhead_flags INTERFACE -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>)  # g++ 12 reports overlaps in std::string that do not exist (GCC bug 105651)
if(CLEARHEAD_FUZZ)  # rooms are instrumented for coverage; only the targets of fuzz/ link libFuzzer's main
  target_compile_options(clearhead_flags INTERFACE -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
    -fno-omit-frame-pointer)
endif()
if(CLEARHEAD_WERROR)
  target_compile_options(clearhead_flags INTERFACE -Werror)
endif()

# Loops with FMA chains must round the same way everywhere: contraction is explicit, never left to the compiler.
target_compile_options(clearhead_flags INTERFACE -ffp-contract=off)

# The headers of the standard library that most sources include.
set(CLEARHEAD_STANDARD_HEADERS <algorithm> <array> <atomic> <cmath> <cstdint> <cstring> <functional> <limits> <map> <memory>
  <numeric> <optional> <set> <span> <string> <string_view> <tuple> <unordered_map> <utility> <variant> <vector>)
if(CLEARHEAD_PRECOMPILED)
  file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/precompiled.cc CONTENT "")  # not file(WRITE), which would make the objects out of date
  add_library(clearhead_precompiled OBJECT ${PROJECT_BINARY_DIR}/precompiled.cc)
  target_link_libraries(clearhead_precompiled PRIVATE clearhead_flags)
  target_precompile_headers(clearhead_precompiled PRIVATE ${CLEARHEAD_STANDARD_HEADERS})
endif()

function(clearhead_room name)
  cmake_parse_arguments(ROOM "HEADERS_ONLY" "" "USES;LINKS;SOURCES" ${ARGN})
  if(NOT ROOM_HEADERS_ONLY)
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  endif()
  list(APPEND sources ${ROOM_SOURCES})
  list(TRANSFORM ROOM_USES PREPEND clearhead_)
  set(folder ${PROJECT_BINARY_DIR}/rooms/${name})
  file(RELATIVE_PATH own ${PROJECT_SOURCE_DIR}/src ${CMAKE_CURRENT_SOURCE_DIR})
  if(own MATCHES "^[a-z]+$")  # src/backends/ref and cpu include their headers through backends
    file(MAKE_DIRECTORY ${folder})
    file(CREATE_LINK ${CMAKE_CURRENT_SOURCE_DIR} ${folder}/${own} SYMBOLIC)
  endif()
  set_property(GLOBAL APPEND PROPERTY CLEARHEAD_ROOMS clearhead_${name})
  if(NOT sources)
    add_library(clearhead_${name} INTERFACE)
    target_include_directories(clearhead_${name} INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<BUILD_INTERFACE:${folder}>)
    target_link_libraries(clearhead_${name} INTERFACE ${ROOM_USES})
    return()
  endif()
  add_library(clearhead_${name} STATIC ${sources})
  target_include_directories(clearhead_${name} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<BUILD_INTERFACE:${folder}> $<INSTALL_INTERFACE:include>)
  target_compile_features(clearhead_${name} PUBLIC cxx_std_20)
  target_link_libraries(clearhead_${name} PUBLIC ${ROOM_USES} PRIVATE $<BUILD_INTERFACE:clearhead_flags> ${ROOM_LINKS})
  if(TARGET clearhead_precompiled)
    target_precompile_headers(clearhead_${name} REUSE_FROM clearhead_precompiled)
  endif()
endfunction()
