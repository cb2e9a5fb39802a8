# Generates the list of all tasks, model families, networks, kinds of input or kinds of answer. Each of them is one file: NAME.cc defines
# `const TYPE& NAME_SUFFIX()`. Adding one needs only a new file.
#
# clearhead_registry(OUT TYPE SUFFIX LIST HEADER FILES…): sets OUT to the path of the generated source, which defines
# `const std::vector<const TYPE*>& LIST()` as HEADER declares it. The functions are in namespace clearhead; for a TYPE written as
# ROOM::TYPE, in clearhead::ROOM. The list is generated, because the linker would drop object files of a static library that only register
# themselves.
function(clearhead_registry out type suffix list header)
  set(space clearhead)
  if(type MATCHES "^(.+)::(.+)$")
    set(space clearhead::${CMAKE_MATCH_1})
    set(type ${CMAKE_MATCH_2})
  endif()
  set(declarations "")
  set(entries "")
  foreach(file ${ARGN})
    get_filename_component(name ${file} NAME_WE)
    string(APPEND declarations "const ${type}& ${name}_${suffix}();\n")
    string(APPEND entries "      &${name}_${suffix}(),\n")
  endforeach()
  set(source ${CMAKE_CURRENT_BINARY_DIR}/${list}.cc)
  file(CONFIGURE OUTPUT ${source} @ONLY CONTENT [[
// Written by cmake/registry.cmake.
#include "@header@"

namespace @space@ {

@declarations@
const std::vector<const @type@*>& @list@() {
  static const std::vector<const @type@*> all = {
@entries@  };
  return all;
}

}  // namespace @space@
]])
  set(${out} ${source} PARENT_SCOPE)
endfunction()
