# Compiler flags, as one interface target that every target of this tree links to: mia_flags.

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)

# Assertions state what we believe of our own code; release builds leave them out (-DNDEBUG), the others keep them.
# No -march: kernels for newer instruction sets are chosen when the program runs. No -ffast-math: numbers are bounded.
set(CMAKE_C_FLAGS_RELEASE "-O3 -DNDEBUG")
set(CMAKE_CXX_FLAGS_RELEASE "-O3 -DNDEBUG")
set(CMAKE_C_FLAGS_DEBUG "-O0 -g3")
set(CMAKE_CXX_FLAGS_DEBUG "-O0 -g3")
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g")
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g")

add_library(mia_flags INTERFACE)
target_compile_definitions(mia_flags INTERFACE _GNU_SOURCE)
target_compile_options(
    mia_flags
    INTERFACE
        -Wall
        -Wextra
        -Wpedantic
        -Wshadow
        -Wconversion
        "$<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes;-Wmissing-prototypes>"
        "$<$<BOOL:${MIA_WERROR}>:-Werror>"
        # gcc and clang differ in what they contract by themselves: the same source shall give the same numbers
        -ffp-contract=off
        -fno-math-errno
        # call sites are recorded by __FILE__: relative to the tree, whoever built it
        "-fmacro-prefix-map=${PROJECT_SOURCE_DIR}/="
        # debuggers want the real paths, release builds want none
        "$<$<CONFIG:Release>:-ffile-prefix-map=${PROJECT_SOURCE_DIR}/=>"
)

if(MIA_SANITIZE STREQUAL "address")
    set(mia_sanitizers -fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=all)
elseif(MIA_SANITIZE STREQUAL "thread")
    set(mia_sanitizers -fsanitize=thread)
elseif(NOT MIA_SANITIZE STREQUAL "")
    message(FATAL_ERROR "MIA_SANITIZE is '${MIA_SANITIZE}'; it may be empty, address or thread")
endif()
if(MIA_FUZZ)
    list(APPEND mia_sanitizers -fsanitize=fuzzer-no-link)
endif()
if(mia_sanitizers)
    target_compile_options(mia_flags INTERFACE ${mia_sanitizers} -fno-omit-frame-pointer)
    target_link_options(mia_flags INTERFACE ${mia_sanitizers})
endif()
