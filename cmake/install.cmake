# `cmake --install` and find_package(clearhead): installs the rooms as static libraries, the public headers and the package files.
#
#   find_package(clearhead REQUIRED)
#   target_link_libraries(mine PRIVATE clearhead::clearhead)

include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

get_property(rooms GLOBAL PROPERTY CLEARHEAD_ROOMS)
add_library(clearhead_all INTERFACE)
set_target_properties(clearhead_all PROPERTIES EXPORT_NAME clearhead)
target_link_libraries(clearhead_all INTERFACE ${rooms})
add_library(clearhead::clearhead ALIAS clearhead_all)

install(TARGETS ${rooms} clearhead_all EXPORT clearheadTargets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/clearhead DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
if(TARGET clearhead)
  install(TARGETS clearhead RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/clearhead)
install(EXPORT clearheadTargets NAMESPACE clearhead:: DESTINATION ${package_dir})
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/clearheadConfig.cmake.in ${PROJECT_BINARY_DIR}/clearheadConfig.cmake
                              INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/clearheadConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/clearheadConfig.cmake ${PROJECT_BINARY_DIR}/clearheadConfigVersion.cmake
  ${CMAKE_CURRENT_LIST_DIR}/FindOneDNN.cmake DESTINATION ${package_dir})
