# Things of one kind that have one file each (tasks, families of models, networks): NAME.cc defines `const TYPE& NAME_SUFFIX()`, and this
# writes the list of them, so that one more is a new file and nothing else.
#
# clearhead_registry(OUT TYPE SUFFIX LIST HEADER FILES…): OUT is set to the source written, which defines
# `const std::vector<const TYPE*>& LIST()` as HEADER declares it. TYPE is in the namespace clearhead; with `cli::TYPE`, all of this is in
# clearhead::cli. A static library drops objects that only register themselves; a list refers to each of them.
function(clearhead_registry out type suffix list header)
  set(namespace clearhead)
  if(type MATCHES "^([a-z]+)::(.+)$")
    set(namespace clearhead::${CMAKE_MATCH_1})
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

namespace @namespace@ {

@declarations@
const std::vector<const @type@*>& @list@() {
  static const std::vector<const @type@*> all = {
@entries@  };
  return all;
}

}  // namespace @namespace@
]])
  set(${out} ${source} PARENT_SCOPE)
endfunction()
