# Benchmarks: bench/NAME.c becomes bench/NAME in the build folder, by the target `bench` and not otherwise.

add_custom_target(bench)
file(GLOB mia_benchmarks CONFIGURE_DEPENDS bench/*.c)
foreach(source IN LISTS mia_benchmarks)
    cmake_path(GET source STEM name)
    add_executable(bench_${name} EXCLUDE_FROM_ALL ${source})
    set_target_properties(
        bench_${name} PROPERTIES OUTPUT_NAME ${name} RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bench"
    )
    target_include_directories(bench_${name} PRIVATE src)
    target_link_libraries(bench_${name} PRIVATE mia_static mia_flags mia_instruction_sets Threads::Threads m)
    add_dependencies(bench bench_${name})
endforeach()
if(TARGET mia_program)
    add_dependencies(bench mia_program)
endif()
