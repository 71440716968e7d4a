# The `mia` program, from cli/: it uses the public headers alone. json-c is optional (--json output).

if(NOT MIA_PROGRAM OR NOT EXISTS "${PROJECT_SOURCE_DIR}/cli/main.c")
    return()
endif()

file(GLOB mia_program_sources CONFIGURE_DEPENDS cli/*.c)
add_executable(mia_program ${mia_program_sources})
set_target_properties(mia_program PROPERTIES OUTPUT_NAME mia)
target_link_libraries(mia_program PRIVATE mia_static mia_flags Threads::Threads)

# An installed tree can be moved as a whole: the program finds its model relative to itself.
file(
    RELATIVE_PATH
    mia_models_from_program
    "${CMAKE_INSTALL_FULL_BINDIR}"
    "${CMAKE_INSTALL_FULL_DATADIR}/mia/models"
)
target_compile_definitions(
    mia_program
    PRIVATE MIA_INSTALLED_MODELS_DIR="${mia_models_from_program}"
            MIA_SOURCE_MODELS_DIR="${PROJECT_SOURCE_DIR}/models"
)

find_package(PkgConfig QUIET)
if(PkgConfig_FOUND)
    pkg_check_modules(JSON_C QUIET IMPORTED_TARGET json-c)
endif()
if(JSON_C_FOUND)
    target_link_libraries(mia_program PRIVATE PkgConfig::JSON_C)
    target_compile_definitions(mia_program PRIVATE MIA_HAVE_JSON_C=1)
else()
    message(STATUS "json-c was not found: the mia program is built without --json")
endif()
