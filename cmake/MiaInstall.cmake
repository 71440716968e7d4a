# `cmake --install`: headers, libraries, the program, the bundled model, and what pkg-config and find_package need.
# Everything is relative to the prefix, so that an installed tree can be moved.
include(CMakePackageConfigHelpers)

set(mia_package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/mia")

install(DIRECTORY include/mia DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" FILES_MATCHING PATTERN "*.h" PATTERN "*.def")
install(TARGETS mia_static EXPORT mia_targets ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
if(TARGET mia_shared)
    install(TARGETS mia_shared EXPORT mia_targets LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}")
endif()
if(TARGET mia_program)
    install(TARGETS mia_program RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
endif()
file(GLOB mia_bundled_models CONFIGURE_DEPENDS models/*.gguf)
install(FILES ${mia_bundled_models} DESTINATION "${CMAKE_INSTALL_DATADIR}/mia/models")
if(EXISTS "${PROJECT_SOURCE_DIR}/LICENSE")
    install(FILES LICENSE LICENSE-MIT LICENSE-APACHE DESTINATION "${CMAKE_INSTALL_DOCDIR}")
endif()

install(EXPORT mia_targets NAMESPACE mia:: FILE miaTargets.cmake DESTINATION "${mia_package_dir}")
configure_package_config_file(
    cmake/miaConfig.cmake.in "${PROJECT_BINARY_DIR}/miaConfig.cmake" INSTALL_DESTINATION "${mia_package_dir}"
)
write_basic_package_version_file("${PROJECT_BINARY_DIR}/miaConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/miaConfig.cmake" "${PROJECT_BINARY_DIR}/miaConfigVersion.cmake"
        DESTINATION "${mia_package_dir}"
)

# mia.pc finds the prefix from its own place, unless the folders were given as absolute paths.
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}" OR IS_ABSOLUTE "${CMAKE_INSTALL_INCLUDEDIR}")
    set(mia_pc_prefix "${CMAKE_INSTALL_PREFIX}")
    set(mia_pc_libdir "${CMAKE_INSTALL_FULL_LIBDIR}")
    set(mia_pc_includedir "${CMAKE_INSTALL_FULL_INCLUDEDIR}")
else()
    file(RELATIVE_PATH mia_pc_up "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
    string(REGEX REPLACE "/$" "" mia_pc_up "${mia_pc_up}")
    set(mia_pc_prefix "\${pcfiledir}/${mia_pc_up}")
    set(mia_pc_libdir "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
    set(mia_pc_includedir "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
endif()
configure_file(cmake/mia.pc.in "${PROJECT_BINARY_DIR}/mia.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/mia.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
