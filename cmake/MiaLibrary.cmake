# The library: every source below src/ by layer, compiled once, and made into a static and a shared library.
# A new file or backend folder is found by itself; the layers are listed so that a stray folder is not.
include(CheckCCompilerFlag)
include(CheckFunctionExists)

file(
    GLOB mia_sources
    CONFIGURE_DEPENDS
    src/base/*.c
    src/layout/*.c
    src/graph/*.c
    src/plan/*.c
    src/backend/*.c
    src/backend/*/*.c
    src/backend/cpu/generic/*.c
    src/runtime/*.c
    src/weights/*.c
    src/lm/*.c
)

add_library(mia_objects OBJECT ${mia_sources})
target_include_directories(
    mia_objects PUBLIC "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>" PRIVATE "${PROJECT_SOURCE_DIR}/src"
)
target_link_libraries(mia_objects PRIVATE mia_flags Threads::Threads)

# GPU libraries are opened when the program runs. Where that would take a library besides C's, Mia goes without.
check_function_exists(dlopen MIA_HAVE_DLOPEN)
if(NOT MIA_HAVE_DLOPEN)
    target_compile_definitions(mia_objects PRIVATE MIA_NO_DLOPEN=1)
endif()

# Kernels for one instruction set lie in src/backend/cpu/<set>/, are compiled with its flags, and run only where the
# processor has it. A processor may lack the BYTE_PRODUCTS: they are for quantised.c alone, which isa.c asks about
# by itself. mia_instruction_sets holds what this compiler can make.
add_library(mia_instruction_sets INTERFACE)

function(mia_add_instruction_set name)
    cmake_parse_arguments(PARSE_ARGV 1 set "" "" "FLAGS;BYTE_PRODUCTS")
    string(TOUPPER "${name}" upper)
    set(CMAKE_REQUIRED_QUIET ON)
    string(JOIN " " flags ${set_FLAGS} ${set_BYTE_PRODUCTS})
    check_c_compiler_flag("${flags}" MIA_COMPILER_HAS_${upper})
    if(NOT MIA_COMPILER_HAS_${upper})
        message(STATUS "The compiler does not know ${name}: the cpu backend goes without its kernels")
        return()
    endif()
    file(GLOB sources CONFIGURE_DEPENDS src/backend/cpu/${name}/*.c)
    # gcc puts frames that asan watches after their return at places too narrowly aligned for wide vectors.
    if(MIA_SANITIZE STREQUAL "address" AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
        list(APPEND set_FLAGS --param=asan-use-after-return=0)
    endif()
    set_source_files_properties(${sources} PROPERTIES COMPILE_OPTIONS "${set_FLAGS}")
    set_property(SOURCE src/backend/cpu/${name}/quantised.c APPEND PROPERTY COMPILE_OPTIONS ${set_BYTE_PRODUCTS})
    target_sources(mia_objects PRIVATE ${sources})
    if(sources)
        target_compile_definitions(mia_instruction_sets INTERFACE MIA_CPU_HAVE_${upper}=1)
    endif()
endfunction()

if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$" AND CMAKE_SIZEOF_VOID_P EQUAL 8)
    set(mia_avx2_flags -mavx2 -mfma -mf16c)
    mia_add_instruction_set(avx2 FLAGS ${mia_avx2_flags})
    mia_add_instruction_set(
        avx512
        FLAGS ${mia_avx2_flags} -mavx512f -mavx512bw -mavx512dq -mavx512vl
        BYTE_PRODUCTS -mavx512vnni
    )
endif()
target_link_libraries(mia_objects PRIVATE mia_instruction_sets)

# The core needs the C library, its mathematics and threads, and nothing else.
find_library(MIA_LIBM m)
mark_as_advanced(MIA_LIBM)

function(mia_finish_library target)
    set_target_properties(${target} PROPERTIES OUTPUT_NAME mia)
    target_include_directories(
        ${target} PUBLIC "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>"
                         "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>"
    )
    target_link_libraries(${target} PRIVATE Threads::Threads "$<$<BOOL:${MIA_LIBM}>:m>")
endfunction()

add_library(mia_static STATIC $<TARGET_OBJECTS:mia_objects>)
mia_finish_library(mia_static)
set_target_properties(mia_static PROPERTIES EXPORT_NAME mia)
add_library(mia::mia ALIAS mia_static)

if(MIA_SHARED)
    # Before 1.0 a minor version may break programs, as the CMake package says, too (SameMinorVersion).
    set(mia_abi ${PROJECT_VERSION_MAJOR})
    if(PROJECT_VERSION_MAJOR EQUAL 0)
        set(mia_abi 0.${PROJECT_VERSION_MINOR})
    endif()
    add_library(mia_shared SHARED $<TARGET_OBJECTS:mia_objects>)
    mia_finish_library(mia_shared)
    set_target_properties(mia_shared PROPERTIES EXPORT_NAME shared VERSION ${PROJECT_VERSION} SOVERSION ${mia_abi})
    target_link_options(mia_shared PRIVATE ${mia_sanitizers})
    if(CMAKE_SYSTEM_NAME STREQUAL "Linux" AND NOT MIA_SANITIZE)
        target_link_options(mia_shared PRIVATE -Wl,--no-undefined -Wl,-Bsymbolic-functions)
    endif()
    add_library(mia::shared ALIAS mia_shared)
endif()
