//! Generated files are what the code would generate now.

#[test]
fn openapi_yaml_is_what_the_code_says() {
    let made = rethread::app::openapi_yaml().unwrap();
    let kept = include_str!("../../openapi.yaml");
    assert!(made == kept, "openapi.yaml drifted: run scripts/gen");
}
