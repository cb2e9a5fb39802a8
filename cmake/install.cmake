# `cmake --install` and find_package(clearhead): the rooms, the public headers, the package files.
