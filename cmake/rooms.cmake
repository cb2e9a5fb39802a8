# clearhead_room(NAME [USES rooms…] [LINKS libraries…] [SOURCES extra…]): the static library clearhead_NAME from this folder's *.cc.
# A room that another may not include is not on its include path in the tidy test; USES is that list.

find_package(Threads REQUIRED)

add_library(clearhead_flags INTERFACE)
target_compile_features(clearhead_flags INTERFACE cxx_std_20)
target_compile_options(clearhead_flags INTERFACE -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>)  # g++ 12 sees overlaps in std::string that are not there (GCC bug 105651)
if(CLEARHEAD_FUZZ)  # rooms report what they cover; only the targets of fuzz/ have libFuzzer's main
  target_compile_options(clearhead_flags INTERFACE -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
    -fno-omit-frame-pointer)
endif()
if(CLEARHEAD_WERROR)
  target_compile_options(clearhead_flags INTERFACE -Werror)
endif()

# Loops with FMA chains must round the same way everywhere: contraction is written out, never left to the compiler.
target_compile_options(clearhead_flags INTERFACE -ffp-contract=off)

function(clearhead_room name)
  cmake_parse_arguments(ROOM "" "" "USES;LINKS;SOURCES" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  list(APPEND sources ${ROOM_SOURCES})
  list(TRANSFORM ROOM_USES PREPEND clearhead_)
  set_property(GLOBAL APPEND PROPERTY CLEARHEAD_ROOMS clearhead_${name})
  if(NOT sources)  # a room of headers only
    add_library(clearhead_${name} INTERFACE)
    target_link_libraries(clearhead_${name} INTERFACE ${ROOM_USES})
    return()
  endif()
  add_library(clearhead_${name} STATIC ${sources})
  target_include_directories(clearhead_${name} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:include>
    PRIVATE ${PROJECT_SOURCE_DIR}/src)
  target_compile_features(clearhead_${name} PUBLIC cxx_std_20)
  target_link_libraries(clearhead_${name} PUBLIC ${ROOM_USES} PRIVATE $<BUILD_INTERFACE:clearhead_flags> ${ROOM_LINKS})
endfunction()
